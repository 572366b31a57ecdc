"""Constraints on a text that a program can verify, each a pure function, by name in `KINDS`.

Those that count take `at_least` and `at_most`, one or both. Phrases are found in any case and as whole words; in
scripts that have no case, anywhere.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, create_model, model_validator

from resources_servers.instruction_following import text_parts as parts

Phrase = Annotated[str, Field(pattern=r"\S")]
Phrases = Annotated[list[Phrase], Field(min_length=1)]

_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_HEADING = re.compile(r"#{1,6}\s+\S")
_BOLD = re.compile(r"\*\*[^*\n]+\*\*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_QUOTES = ('""', "\u201c\u201d", "\u201e\u201c", "\u00ab\u00bb", "\u300c\u300d")


class Parameters(BaseModel):
    """What a constraint is given beside the text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Range(Parameters):
    """How many there may be."""

    at_least: NonNegativeInt | None = None
    at_most: NonNegativeInt | None = None

    @model_validator(mode="after")
    def _expect_a_limit(self) -> "Range":
        if self.at_least is None and self.at_most is None:
            raise ValueError("neither at_least nor at_most is given")
        if self.at_most is not None and (self.at_least or 0) > self.at_most:
            raise ValueError(f"at_least {self.at_least} is more than at_most {self.at_most}")
        return self

    def holds(self, count: int) -> bool:
        """Whether `count` is within the limits."""
        return (self.at_least or 0) <= count and (self.at_most is None or count <= self.at_most)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of constraint.

    Attributes:
        measure: Tells of a text whether it follows, or how many of something it has.
        parameters: What it takes: keyword arguments of `measure`, and a range if that counts.
    """

    measure: Callable[..., Any]
    parameters: type[Parameters]

    def is_followed(self, text: str, given: Parameters) -> bool:
        """Whether `text` follows the constraint with these parameters."""
        own = {name: value for name, value in given if name not in Range.model_fields}
        measured = self.measure(text, **own)
        return given.holds(measured) if isinstance(given, Range) else bool(measured)


KINDS: dict[str, Kind] = {}


def _register(measure: Callable[..., Any], base: type[Parameters]) -> None:
    own = [each for each in inspect.signature(measure).parameters.values() if each.kind is each.KEYWORD_ONLY]
    fields: dict[str, Any] = {each.name: (each.annotation, ...) for each in own}
    KINDS[measure.__name__] = Kind(measure, create_model(measure.__name__, __base__=base, **fields))


def _count(measure: Callable[..., int]) -> Callable[..., int]:
    _register(measure, Range)
    return measure


def _check(measure: Callable[..., bool]) -> Callable[..., bool]:
    _register(measure, Parameters)
    return measure


@_count
def words(text: str) -> int:
    """Words and numbers."""
    return len(parts.words(text))


@_count
def different_words(text: str) -> int:
    """Words, each counted once, in whatever case."""
    return len({word.casefold() for word in parts.words(text)})


@_count
def sentences(text: str) -> int:
    """Sentences."""
    return len(parts.sentences(text))


@_count
def paragraphs(text: str) -> int:
    """Paragraphs, separated by blank lines."""
    return len(parts.paragraphs(text))


@_count
def lines(text: str) -> int:
    """Lines that are not blank."""
    return len(parts.lines(text))


@_count
def characters(text: str) -> int:
    """Characters, without white space at both ends."""
    return len(text.strip())


@_count
def bullets(text: str) -> int:
    """List items that begin with `-`, `*`, `+` or a bullet."""
    return len(parts.bullets(text))


@_count
def numbered_items(text: str) -> int:
    """List items numbered 1, 2, 3 and so on."""
    return len(parts.numbered_items(text))


@_count
def headings(text: str) -> int:
    """Markdown headings."""
    return sum(_HEADING.match(line) is not None for line in parts.lines(text))


@_count
def bold_spans(text: str) -> int:
    """Places in `**bold**`."""
    return len(_BOLD.findall(text))


@_count
def placeholders(text: str) -> int:
    """Places to fill in, in square brackets: `[name]`."""
    return len(_PLACEHOLDER.findall(text))


@_count
def questions(text: str) -> int:
    """Sentences that end in a question mark."""
    return sum(sentence.rstrip("\"'*_)\u201d\u2019").endswith(("?", "\uff1f")) for sentence in parts.sentences(text))


@_count
def numbers(text: str) -> int:
    """Numbers in digits."""
    return len(_NUMBER.findall(text))


@_count
def upper_case_words(text: str) -> int:
    """Words of two letters or more, all of them capitals."""
    return sum(len(word) > 1 and word.isupper() for word in parts.words(text))


@_count
def occurrences(text: str, *, phrase: Phrase) -> int:
    """How often a phrase is there."""
    return len(_pattern(phrase).findall(text))


@_count
def longest_sentence(text: str) -> int:
    """Words of the longest sentence."""
    return max((len(parts.words(sentence)) for sentence in parts.sentences(text)), default=0)


@_count
def most_repeated_word(text: str) -> int:
    """How often the most frequent word is there, in whatever case."""
    return max(Counter(word.casefold() for word in parts.words(text)).values(), default=0)


@_check
def includes(text: str, *, phrases: Phrases) -> bool:
    """All of the phrases are there."""
    return all(_pattern(phrase).search(text) for phrase in phrases)


@_check
def excludes(text: str, *, phrases: Phrases) -> bool:
    """None of the phrases is there."""
    return not any(_pattern(phrase).search(text) for phrase in phrases)


@_check
def in_order(text: str, *, phrases: Phrases) -> bool:
    """All of the phrases are there, each after the one before."""
    place = 0
    for phrase in phrases:
        found = _pattern(phrase).search(text, place)
        if found is None:
            return False
        place = found.end()
    return True


@_check
def excludes_characters(text: str, *, characters: Phrase) -> bool:
    """None of the characters is there, in whatever case."""
    return not set(characters.casefold()) & set(text.casefold())


@_check
def lower_case(text: str) -> bool:
    """There are letters, and none is a capital."""
    return text.islower()


@_check
def upper_case(text: str) -> bool:
    """There are letters, and all are capitals."""
    return text.isupper()


@_check
def starts_with(text: str, *, phrase: Phrase) -> bool:
    """The text begins with exactly this."""
    return text.lstrip().startswith(phrase)


@_check
def ends_with(text: str, *, phrase: Phrase) -> bool:
    """The text ends with exactly this."""
    return text.rstrip().endswith(phrase)


@_check
def one_of(text: str, *, choices: Phrases) -> bool:
    """The text is exactly one of the choices."""
    return text.strip() in choices


@_check
def quoted(text: str) -> bool:
    """The whole text is in quotation marks, of one of five styles."""
    said = text.strip()
    return len(said) > 2 and said[0] + said[-1] in _QUOTES


@_check
def initials(text: str, *, letters: Phrase) -> bool:
    """The first letters of the lines spell this, in whatever case; signs of a list are passed over."""
    firsts = [parts.words(parts.without_marker(line))[:1] for line in parts.lines(text)]
    return "".join(first[0][0] for first in firsts if first).casefold() == letters.casefold()


@_check
def alphabetical(text: str) -> bool:
    """The list items, or the lines where there is no list, are at least two and in alphabetical order."""
    entries = [entry.casefold() for entry in parts.items(text) or parts.lines(text)]
    return len(entries) > 1 and all(one <= other for one, other in pairwise(entries))


@_check
def json_object(text: str) -> bool:
    """The whole text is one JSON object."""
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _pattern(phrase: str) -> re.Pattern[str]:
    first, last = phrase.strip()[0], phrase.strip()[-1]
    left = r"(?<!\w)" if _has_case_or_value(first) else ""
    right = r"(?!\w)" if _has_case_or_value(last) else ""
    return re.compile(left + r"\s+".join(map(re.escape, phrase.split())) + right, re.IGNORECASE)


def _has_case_or_value(char: str) -> bool:
    return char.isdigit() or char.lower() != char.upper()
