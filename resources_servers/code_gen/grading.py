"""Which code a reply gives, and whether an output is the expected one."""

import json
import math
import re
from typing import Any

_FENCE = re.compile(r"^```[ \t]*([A-Za-z0-9_+.-]*)[^\n]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_PYTHON = ("", "py", "python", "python3")
_RELATIVE = 1e-6


def code_of(text: str) -> str | None:
    """Return the last Python block between fences; None if there is none."""
    blocks = [code for language, code in _FENCE.findall(text) if language.lower() in _PYTHON]
    return blocks[-1] if blocks and blocks[-1].strip() else None


def is_expected(output: str, expected: str, *, is_value: bool) -> bool:
    """Whether `output` is right.

    White space at the ends of lines and of the whole does not matter, and fractional numbers may differ by a millionth.

    Args:
        output: What the program printed, or the JSON of what the function returned.
        expected: What it should be.
        is_value: Whether it is the JSON of a value.
    """
    if is_value:
        return _equal(_value(output), _value(expected))
    lines, wanted = ([line.split() for line in text.strip().splitlines()] for text in (output, expected))
    return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _same_line(words: list[str], wanted: list[str]) -> bool:
    return len(words) == len(wanted) and all(map(_same_word, words, wanted))


def _same_word(word: str, wanted: str) -> bool:
    if word == wanted:
        return True
    if "." not in wanted and "e" not in wanted.lower():
        return False
    try:
        return math.isclose(float(word), float(wanted), rel_tol=_RELATIVE, abs_tol=_RELATIVE)
    except ValueError:
        return False


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.strip()


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float | int) and isinstance(other, float | int):
        if isinstance(one, int) and isinstance(other, int):
            return one == other
        return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_RELATIVE)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other)
