"""The tools of the workspace: each is a model of its arguments that knows how to run."""

import inspect
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from nemo_gym_lite.clients import Json
from resources_servers.workspace.office import Email, Event, Folder, Missing, Office

Address = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^@\s]+@[^@\s]+$")]
Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}$")]

_MOST = 20
"""Records that a search replies, the latest ones."""


class Tool(BaseModel):
    """One call of a tool."""

    model_config = ConfigDict(extra="forbid")

    name: ClassVar[str]

    def run(self, office: Office) -> Any:
        """Do it and return what the model reads, as JSON data.

        Raises:
            Missing: What it should work on is not there.
        """
        raise NotImplementedError

    @classmethod
    def offer(cls) -> Json:
        """The tool as `responses_create_params.tools` has it."""
        schema = _without_titles(cls.model_json_schema())
        fields = cls.model_fields.values()
        schema.pop("description", None)
        return {
            "type": "function",
            "name": cls.name,
            "description": inspect.getdoc(cls),
            "parameters": {**schema, "required": schema.get("required", [])},
            "strict": all(field.is_required() for field in fields),
        }


class FindPerson(Tool):
    """Look up e-mail addresses by name or part of a name."""

    name: ClassVar[str] = "find_person"

    person: str = Field(description="Name or part of it")

    def run(self, office: Office) -> Any:
        """Names and addresses."""
        return {name: address for name, address in office.people.items() if self.person.casefold() in name.casefold()}


class SearchEmails(Tool):
    """Find e-mails in a folder; only those that contain the text in sender, recipients, subject or body."""

    name: ClassVar[str] = "search_emails"

    text: str = Field(default="", description="Empty for all")
    folder: Folder = "inbox"

    def run(self, office: Office) -> Any:
        """What the e-mails are, without their bodies."""
        found = [email for email in office.emails.values() if email.folder == self.folder and self._is_in(email)]
        latest = sorted(found, key=lambda email: email.sent)[-_MOST:]
        return [email.model_dump(exclude={"body"}) for email in latest]

    def _is_in(self, email: Email) -> bool:
        return self.text.casefold() in "\n".join((email.sender, *email.to, email.subject, email.body)).casefold()


class ReadEmail(Tool):
    """Read an e-mail."""

    name: ClassVar[str] = "read_email"

    email_id: str

    def run(self, office: Office) -> Any:
        """The e-mail."""
        return office.email(self.email_id).model_dump()


class SendEmail(Tool):
    """Send an e-mail."""

    name: ClassVar[str] = "send_email"

    to: list[Address] = Field(min_length=1)
    subject: str
    body: str

    def run(self, office: Office) -> Any:
        """Its id."""
        return {"sent": office.send(tuple(self.to), self.subject, self.body).id}


class ReplyToEmail(Tool):
    """Reply to the sender of an e-mail, with its subject."""

    name: ClassVar[str] = "reply_to_email"

    email_id: str
    body: str

    def run(self, office: Office) -> Any:
        """The reply's id."""
        email = office.email(self.email_id)
        subject = email.subject if email.subject.startswith("Re: ") else f"Re: {email.subject}"
        return {"sent": office.send((email.sender,), subject, self.body).id}


class MoveEmail(Tool):
    """Move an e-mail to another folder; deleted e-mails are in the trash."""

    name: ClassVar[str] = "move_email"

    email_id: str
    folder: Folder

    def run(self, office: Office) -> Any:
        """Where it is now."""
        email = office.email(self.email_id).model_copy(update={"folder": self.folder})
        office.emails[email.id] = email
        return {"moved": email.id, "folder": email.folder}


class ListEvents(Tool):
    """List the calendar's events between two days, both included."""

    name: ClassVar[str] = "list_events"

    first_day: Day = Field(description="YYYY-MM-DD")
    last_day: Day = Field(description="YYYY-MM-DD")

    def run(self, office: Office) -> Any:
        """The events by their start."""
        found = [event for event in office.events.values() if self.first_day <= event.start[:10] <= self.last_day]
        return [event.model_dump() for event in sorted(found, key=lambda event: event.start)]


class CreateEvent(Tool):
    """Put an event into the calendar and invite people."""

    name: ClassVar[str] = "create_event"

    title: str
    start: Moment = Field(description="YYYY-MM-DD HH:MM")
    minutes: int = Field(ge=1, le=1440, description="How long it lasts")
    participants: list[Address] = Field(description="Addresses; empty for nobody else")

    def run(self, office: Office) -> Any:
        """The event."""
        return office.plan(self.title, self.start, self.minutes, tuple(self.participants)).model_dump()


class ChangeEvent(Tool):
    """Change an event of the calendar; what is left out stays as it is."""

    name: ClassVar[str] = "change_event"

    event_id: str
    title: str | None = None
    start: Moment | None = Field(default=None, description="YYYY-MM-DD HH:MM")
    minutes: int | None = Field(default=None, ge=1, le=1440)
    participants: list[Address] | None = Field(default=None, description="All addresses, also those that stay")

    def run(self, office: Office) -> Any:
        """The event as it is now."""
        asked = self.model_dump(exclude={"event_id"}, exclude_none=True)
        event = Event.model_validate({**office.event(self.event_id).model_dump(), **asked})
        office.events[event.id] = event
        return event.model_dump()


class DeleteEvent(Tool):
    """Delete an event from the calendar."""

    name: ClassVar[str] = "delete_event"

    event_id: str

    def run(self, office: Office) -> Any:
        """What was deleted."""
        deleted = office.event(self.event_id)
        del office.events[deleted.id]
        return {"deleted": deleted.id}


class ListFiles(Tool):
    """List the paths of files, all or those below a folder."""

    name: ClassVar[str] = "list_files"

    folder: str = Field(default="", description="As in `reports`; empty for all")

    def run(self, office: Office) -> Any:
        """The paths."""
        below = f"{self.folder.strip('/')}/" if self.folder.strip("/") else ""
        return sorted(path for path in office.files if path.startswith(below))


class ReadFile(Tool):
    """Read a text file."""

    name: ClassVar[str] = "read_file"

    path: str

    def run(self, office: Office) -> Any:
        """Its text."""
        return {"path": self.path, "text": office.file(self.path)}


class WriteFile(Tool):
    """Write a text file; one that is there is replaced."""

    name: ClassVar[str] = "write_file"

    path: str = Field(min_length=1)
    text: str

    def run(self, office: Office) -> Any:
        """Where it is."""
        office.files[self.path.strip("/")] = self.text
        return {"written": self.path.strip("/")}


class DeleteFile(Tool):
    """Delete a file."""

    name: ClassVar[str] = "delete_file"

    path: str

    def run(self, office: Office) -> Any:
        """What was deleted."""
        office.file(self.path)
        del office.files[self.path]
        return {"deleted": self.path}


TOOLS: dict[str, type[Tool]] = {
    tool.name: tool
    for tool in (
        FindPerson,
        SearchEmails,
        ReadEmail,
        SendEmail,
        ReplyToEmail,
        MoveEmail,
        ListEvents,
        CreateEvent,
        ChangeEvent,
        DeleteEvent,
        ListFiles,
        ReadFile,
        WriteFile,
        DeleteFile,
    )
}
"""Every tool by its name."""


def run_call(office: Office, name: str, arguments: Json) -> Any:
    """Run one call.

    Raises:
        Missing: There is no such tool, or what it should work on is not there.
        ValidationError: The arguments do not fit the tool.
    """
    if name not in TOOLS:
        raise Missing(f"there is no tool {name!r}")
    return TOOLS[name].model_validate(arguments).run(office)


def _without_titles(schema: Any) -> Any:
    """A schema without the titles that say no more than the names."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)
        }
    return [_without_titles(value) for value in schema] if isinstance(schema, list) else schema
