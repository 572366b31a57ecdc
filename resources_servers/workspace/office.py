"""The state of one session: e-mails, calendar and files, and what two states differ in."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

_Record = TypeVar("_Record")

Folder = Literal["inbox", "sent", "archive", "trash"]

_NEW = "new-"
"""Begins the ids of records that a session made; it depends on their order, so it says nothing about them."""


class Missing(LookupError):  # noqa: N818 - it is read as a sentence: raise Missing("there is no ...")
    """Something that a tool was to work on is not there; the text is for the model to read."""


class Email(BaseModel):
    """One e-mail; `sent` is `YYYY-MM-DD HH:MM`."""

    model_config = ConfigDict(frozen=True)

    id: str
    sender: str
    to: tuple[str, ...]
    subject: str
    body: str
    sent: str
    folder: Folder


class Event(BaseModel):
    """One event of the calendar; `start` is `YYYY-MM-DD HH:MM`."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    start: str
    minutes: int
    participants: tuple[str, ...]


class Seed(BaseModel):
    """What every session begins with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    now: str
    owner: str
    people: dict[str, str]
    emails: tuple[Email, ...]
    events: tuple[Event, ...]
    files: dict[str, str]


class Office:
    """One session's workspace. Records are never changed but replaced, so sessions share those of the seed.

    Args:
        seed: What it begins with.
    """

    def __init__(self, seed: Seed) -> None:
        self.now, self.owner, self.people = seed.now, seed.owner, seed.people
        self.emails = {email.id: email for email in seed.emails}
        self.events = {event.id: event for event in seed.events}
        self.files = dict(seed.files)

    def email(self, email_id: str) -> Email:
        """The e-mail of that id.

        Raises:
            Missing: There is none.
        """
        return _found(self.emails, email_id, "e-mail")

    def event(self, event_id: str) -> Event:
        """The event of that id.

        Raises:
            Missing: There is none.
        """
        return _found(self.events, event_id, "event")

    def file(self, path: str) -> str:
        """The text of a file.

        Raises:
            Missing: There is none.
        """
        return _found(self.files, path, "file")

    def send(self, to: tuple[str, ...], subject: str, body: str) -> Email:
        """Send an e-mail from the owner."""
        new_id = f"{_NEW}{len(self.emails)}"
        email = Email(id=new_id, sender=self.owner, to=to, subject=subject, body=body, sent=self.now, folder="sent")
        self.emails[new_id] = email
        return email

    def plan(self, title: str, start: str, minutes: int, participants: tuple[str, ...]) -> Event:
        """Put an event into the calendar."""
        number = sum(event_id.startswith(_NEW) for event_id in self.events)
        while (new_id := f"{_NEW}{number}") in self.events:
            number += 1
        event = Event(id=new_id, title=title, start=start, minutes=minutes, participants=participants)
        self.events[new_id] = event
        return event

    def records(self) -> Counter[tuple[Any, ...]]:
        """Everything that counts when two states are compared, each record as a tuple."""
        found: Counter[tuple[Any, ...]] = Counter(("file", path, _plain(text)) for path, text in self.files.items())
        for email in self.emails.values():
            texts = (_plain(email.subject), _plain(email.body))
            found["email", _lasting(email.id), email.sender, _people(email.to), *texts, email.folder] += 1
        for event in self.events.values():
            when = (event.start, event.minutes)
            found["event", _lasting(event.id), _plain(event.title), *when, _people(event.participants)] += 1
        return found


def differences(expected: Office, actual: Office) -> tuple[list[str], list[str]]:
    """What `actual` lacks and what it has too much, as texts; a changed record is in both."""
    due, there = expected.records(), actual.records()
    return [repr(record) for record in (due - there).elements()], [repr(record) for record in (there - due).elements()]


@cache
def load_seed() -> Seed:
    """The seed, read once."""
    return Seed.model_validate_json((Path(__file__).parent / "data/office.json").read_bytes())


def _found(records: Mapping[str, _Record], key: str, kind: str) -> _Record:
    if key not in records:
        raise Missing(f"there is no {kind} {key!r}")
    return records[key]


def _lasting(record_id: str) -> str:
    return "" if record_id.startswith(_NEW) else record_id


def _plain(text: str) -> str:
    """A text without what does not matter: case, spaces, line ends."""
    return " ".join(text.casefold().split())


def _people(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({address.casefold() for address in addresses}))
