"""Takes a text apart: words, sentences, paragraphs, lines and list items, in any language that has them.

All of it takes time in proportion to the text's length, whatever the text.
"""

import re
import unicodedata

_MARKS = "".join(char for char in map(chr, range(0x300, 0x10000)) if unicodedata.category(char).startswith("M"))
_LETTERS = rf"[\w{_MARKS}]+"  # accents and vowel signs that are characters of their own do not end a word
_WORD = re.compile(rf"{_LETTERS}(?:(?:['\u2019-]|(?<=\d)[.,](?=\d)){_LETTERS})*")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_MARKER = re.compile(r"[^\S\n]*(?:[-*+\u2022]|(\d{1,9})[.)])[^\S\n]+")
_ITEM_START = re.compile(r"\n(?=[^\S\n]*(?:[-*+\u2022]|\d{1,9}[.)])[^\S\n]+)")
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026])[\"'\u201d\u2019)\]*_]*\s+|(?<=[\u3002\uff01\uff1f])")


def words(text: str) -> list[str]:
    """Words and numbers; `don't`, `well-known` and `1,250.5` are one each."""
    return _WORD.findall(text)


def paragraphs(text: str) -> list[str]:
    """What blank lines separate."""
    return [part for part in _BLANK_LINE.split(text.strip()) if part.strip()]


def lines(text: str) -> list[str]:
    """Lines that are not blank, without the white space around them."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def sentences(text: str) -> list[str]:
    """What ends in `.`, `!`, `?` or an ellipsis before white space, or in their wide forms, anywhere.

    A paragraph and a list item end a sentence too.
    """
    blocks = (block for part in paragraphs(text) for block in _ITEM_START.split(part))
    parts = (part for block in blocks for part in _SENTENCE_END.split(without_marker(block)))
    return [part.strip() for part in parts if _WORD.search(part)]


def items(text: str) -> list[str]:
    """Texts of the list items, of both kinds of list."""
    return [without_marker(line) for line in lines(text) if _MARKER.match(line)]


def bullets(text: str) -> list[str]:
    """Texts of the items that begin with `-`, `*`, `+` or a bullet."""
    found = ((line, _MARKER.match(line)) for line in lines(text))
    return [line[marker.end() :] for line, marker in found if marker and marker[1] is None]


def numbered_items(text: str) -> list[str]:
    """Texts of the items that carry on a numbering from 1: `1.` or `1)`, then 2, then 3."""
    found: list[str] = []
    for line in lines(text):
        marker = _MARKER.match(line)
        if marker and marker[1] and int(marker[1]) == len(found) + 1:
            found.append(line[marker.end() :])
    return found


def without_marker(line: str) -> str:
    """A line without what makes it a list item."""
    marker = _MARKER.match(line)
    return line[marker.end() :] if marker else line
