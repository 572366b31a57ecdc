r"""Which option a text chooses, in three grading modes.

- `strict_single_letter_boxed`: the last `\boxed{}` holds one capital letter of an option and no other letter,
  as in `\boxed{B}`, `\boxed{(B)}` or `\boxed{B.}`.
- `lenient_boxed`: the same, or the box holds the letter in LaTeX text or lower case (`\boxed{\text{b}}`), the
  letter before its option (`\boxed{B: Paris}`), or the text of exactly one option (`\boxed{Paris}`).
- `lenient_answer_colon`: what follows the last `Answer:` on its line is the letter or the text of exactly one
  option, as in `Answer: B`, `**Answer:** (b)` or `answer: Paris`.

Everything after the search for the last box or line is on at most `MAX_CHOICE_CHARS` characters.
"""

import re
from collections.abc import Mapping
from typing import Literal

GradingMode = Literal["strict_single_letter_boxed", "lenient_boxed", "lenient_answer_colon"]

MAX_CHOICE_CHARS = 1000
"""Longest box or line that is read."""

_BOX = re.compile(r"\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_STRICT_LETTER = re.compile(r"[^A-Za-z]*([A-Z])[^A-Za-z]*")
_ANSWER_COLON = re.compile(r"\banswer\s?\**\s?:", re.IGNORECASE)
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|boxed)\s*\{([^{}]*)\}")
_LETTER_FIRST = re.compile(r"\(?([A-Za-z])\)?(?:\s*[:.)]\s*(.*))?", re.DOTALL)


def choose(text: str, options: Mapping[str, str], mode: GradingMode) -> str | None:
    """Return the letter that `text` chooses among `options` (letter to text), None if it chooses none."""
    if mode == "lenient_answer_colon":
        line = _last_answer_line(text)
        return None if line is None else _lenient_choice(line, options)
    box = _last_box(text)
    if box is None:
        return None
    strict = _STRICT_LETTER.fullmatch(box)
    if strict:
        return strict[1] if strict[1] in options else None
    return _lenient_choice(box, options) if mode == "lenient_boxed" else None


def _last_box(text: str) -> str | None:
    start = text.rfind("\\boxed")
    if start < 0:
        return None
    found = _BOX.match(text[start + len("\\boxed") : start + MAX_CHOICE_CHARS])
    return found[1] if found else None


def _last_answer_line(text: str) -> str | None:
    start = -1
    for found in _ANSWER_COLON.finditer(text):
        start = found.end()
    return None if start < 0 else text[start : start + MAX_CHOICE_CHARS].split("\n", 1)[0]


def _lenient_choice(said: str, options: Mapping[str, str]) -> str | None:
    said = _LATEX_TEXT.sub(r"\1", said).strip(" \t\r\n*_`$.")
    found = _LETTER_FIRST.fullmatch(said)
    if found and found[1].upper() in options:
        letter = found[1].upper()
        rest = _folded(found[2] or "")
        return letter if rest in {"", _folded(options[letter])} else None
    equal = [letter for letter, option in options.items() if _folded(option) == _folded(said)]
    return equal[0] if len(equal) == 1 else None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")
