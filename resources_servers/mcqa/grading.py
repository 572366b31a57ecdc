r"""Which option a text chooses, in four grading modes and by a row's own patterns.

- `strict_single_letter_boxed`: the last `\boxed{}` holds one capital letter and no other letter (`\boxed{B}`,
  `\boxed{\text{(B)}}`), or begins with the letter as a label (`\boxed{B: Quito}`, `\boxed{B) Quito}`).
- `lenient_boxed`: the same, or the box is the text of one option, or holds the text of exactly one as whole words, or
  is the letter in lower case.
- `lenient_answer_colon`: after the last `Answer:`, its line is the letter or the text of exactly one option.
- `lenient_answer_colon_md`: see `final_answers`.

Everything after the search for the last box or line is on at most `MAX_CHOICE_CHARS` characters.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from resources_servers.mcqa.final_answers import latin_letters, letter_after_answer

GradingMode = Literal["strict_single_letter_boxed", "lenient_boxed", "lenient_answer_colon", "lenient_answer_colon_md"]

MAX_CHOICE_CHARS = 1000
"""Longest box or line that is read."""

_BOX = "\\boxed"
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|boxed)\s*\{([^{}]*)\}")
_ONE_LETTER = re.compile(r"[^A-Za-z]*([A-Z])[^A-Za-z]*")
_LABEL = re.compile(r"\s*([A-Z])\s*[:).\-]")
_ANSWER_COLON = re.compile(r"answer\s*:", re.IGNORECASE)


def choose(text: str, options: Mapping[str, str], mode: GradingMode, answer_prefix: str | None = None) -> str | None:
    """Return the letter that `text` chooses among `options` (letter to text), None if it chooses none.

    Args:
        text: The reply.
        options: Texts by capital letter.
        mode: How the reply is read.
        answer_prefix: What comes before the letter beside `Answer:`; only for `lenient_answer_colon_md`, which then
            reads a box as well.
    """
    match mode:
        case "strict_single_letter_boxed":
            return _boxed_letter(text, options)
        case "lenient_boxed":
            return _boxed_letter(text, options) or _boxed_option(text, options)
        case "lenient_answer_colon":
            return _answer_line(text, options)
    letter = letter_after_answer(text, options, answer_prefix)
    return letter or (_boxed_letter(text, options) if answer_prefix else None)


def choose_by_pattern(text: str, patterns: str | Iterable[str], options: Mapping[str, str]) -> str | None:
    """Return the letter that the first pattern with one finds in `text`, None if none does.

    A pattern ignores case, its last match counts, and in it the first group. That is a letter, or the text of one
    option. A letter need not be among the options, and a pattern that is none is passed over.
    """
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = _last_match(pattern, text)
        if found is None:
            continue
        said = latin_letters(next(filter(None, found.groups()), found[0])).strip()
        letter = said.upper() if len(said) == 1 and said.isascii() and said.isalpha() else _equal_option(said, options)
        if letter is not None:
            return letter
    return None


def _last_match(pattern: str, text: str) -> re.Match[str] | None:
    found = None
    try:
        for found in re.finditer(pattern, text, re.IGNORECASE):  # noqa: B007
            pass
    except re.error:
        return None
    return found


def _boxed_letter(text: str, options: Mapping[str, str]) -> str | None:
    box = _last_box(text)
    found = _ONE_LETTER.fullmatch(box) or _LABEL.match(box)
    return found[1] if found and found[1] in options else None


def _boxed_option(text: str, options: Mapping[str, str]) -> str | None:
    box = _last_box(text)
    if equal := _equal_option(box, options):
        return equal
    said = _folded(box)
    held = [letter for letter, option in options.items() if _holds(said, _folded(option))]
    if len(held) == 1:
        return held[0]
    letter = box.strip(" \t\r\n*_`$.()[]").upper()
    return letter if not held and letter in options else None


def _answer_line(text: str, options: Mapping[str, str]) -> str | None:
    start = -1
    for found in _ANSWER_COLON.finditer(text):
        start = found.end()
    if start < 0:
        return None
    said = _plain(text[start : start + MAX_CHOICE_CHARS].lstrip().split("\n", 1)[0]).strip()
    return said.upper() if said.upper() in options else _equal_option(said, options)


def _last_box(text: str) -> str:
    """What the last box holds, without the wrappers of LaTeX text; empty if there is none or it does not end."""
    start = text.rfind(_BOX) + len(_BOX)
    opened = text[start : start + MAX_CHOICE_CHARS].lstrip() if start >= len(_BOX) else ""
    depth = 0
    for place, char in enumerate(opened):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return _plain(opened[1:place])
    return ""


def _plain(said: str) -> str:
    """`said` without `\\text{}` and its like, whatever they are around."""
    while (inner := _LATEX_TEXT.sub(r"\1", said)) != said:
        said = inner
    return said


def _equal_option(said: str, options: Mapping[str, str]) -> str | None:
    wanted = _folded(said)
    equal = [letter for letter, option in options.items() if wanted and _folded(option) == wanted]
    return equal[0] if len(equal) == 1 else None


def _holds(said: str, option: str) -> bool:
    return bool(option) and re.search(rf"(?<!\w){re.escape(option)}(?!\w)", said) is not None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")
