"""The letter that a text gives as its final answer, in Markdown and in languages other than English.

Answers are looked for from the last to the first, on the line after `Answer:` (`**Answer**:`, `__Answer:__`) and after
a row's own prefix (`Die Antwort ist`). One that names several options (`A or B`, `A/B`) chooses none. Then the text's
last line counts if it is nothing but a word in another script, a colon and a letter (`Answer` in Hindi, Bengali,
Urdu...). Everything is read in Unicode's compatible form, in which wide letters and colons are plain ones.
"""

import re
import unicodedata
from collections.abc import Container
from itertools import pairwise

MAX_LINE_CHARS = 1000
"""Longest answer that is read."""

MAX_ANSWERS = 100
"""Answers of one text that are read, from its end."""

_ANSWER = re.compile(r"answer[*_]{0,2}\s*:[*_\s]{0,2}", re.IGNORECASE)
_ALONE = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_BETWEEN_ALTERNATIVES = re.compile(r"\s*[/|&,;]\s*|\s+(?:or|and)\s+|\s+", re.IGNORECASE)
_LEADING = re.compile(r"[A-Za-z](?![A-Za-z0-9])")
_CAPITAL_ALONE = re.compile(r"\b[A-Z]\b")
_LABELLED = re.compile(r"[*_]*[^\x00-\x7f][^\x00-\x7f ]{1,40}[*_]*\s*:[*_\s]*([A-Za-z])[*_\s]*[.\u3002\u0964]?[*_\s]*")

_ORDINALS = {
    "\u0623": "A",  # Arabic alef, ba, jim, dal: the letters by which options go there
    "\u0628": "B",
    "\u062c": "C",
    "\u062f": "D",
    "\u0985": "A",  # Bengali a, ba, dda, ddha
    "\u09ac": "B",
    "\u09a1": "C",
    "\u09a2": "D",
}
_ORDINAL = re.compile(rf"(?<!\w)[{''.join(_ORDINALS)}](?!\w)")


def letter_after_answer(text: str, letters: Container[str], prefix: str | None = None) -> str | None:
    """Return the letter that `text` gives as its final answer, None if it gives none of `letters`.

    Args:
        text: The reply.
        letters: Capital letters of the options.
        prefix: What comes before the letter beside `Answer:`, in whatever case.
    """
    text = unicodedata.normalize("NFKC", text)
    starts = [found.end() for found in _ANSWER.finditer(text)]
    if prefix:
        marked = re.compile(re.escape(unicodedata.normalize("NFKC", prefix)), re.IGNORECASE)
        starts = sorted([*starts, *(found.end() for found in marked.finditer(text))])
    for start in reversed(starts[-MAX_ANSWERS:]):
        line = text[start : start + MAX_LINE_CHARS].split("\n", 1)[0]
        if letter := _letter_of(line, letters):
            return letter
    last_line = text[-MAX_LINE_CHARS:].strip().rpartition("\n")[2]
    labelled = _LABELLED.fullmatch(last_line)
    return labelled[1].upper() if labelled and labelled[1].upper() in letters else None


def latin_letters(text: str) -> str:
    """`text` in Unicode's compatible form, with Arabic and Bengali letters of options as A to D."""
    return _ORDINAL.sub(lambda found: _ORDINALS[found[0]], unicodedata.normalize("NFKC", text))


def _letter_of(line: str, letters: Container[str]) -> str | None:
    said = latin_letters(line).strip("*_` \t\r.,;:")
    if _names_several(said, letters):
        return None
    capitals = _CAPITAL_ALONE.findall(said)
    found = _LEADING.match(said)
    letter = found[0].upper() if found else capitals[-1] if capitals else ""
    return letter if letter in letters else None


def _names_several(said: str, letters: Container[str]) -> bool:
    named = [found for found in _ALONE.finditer(said) if found[0].upper() in letters]
    return any(
        one[0].upper() != other[0].upper() and _BETWEEN_ALTERNATIVES.fullmatch(said, one.end(), other.start())
        for one, other in pairwise(named)
    )
