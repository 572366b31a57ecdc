r"""The number that a text gives as its answer, as an exact rational.

Two forms count, and the first of them that the text contains decides:

1. the last `\boxed{...}`; one that is never closed (a reply cut off) does not count,
2. what follows the last `####` on its line, GSM8K's own form.

A number that merely stands in the text is no answer: rewarding it would reward luck. What is boxed must be
one number, perhaps with a currency sign, a percent sign or a unit; two numbers or a formula are no number.
After the two searches, at most `MAX_ANSWER_CHARS` characters are looked at, whatever the text.
"""

import re
from fractions import Fraction
from functools import lru_cache

MAX_ANSWER_CHARS = 400
"""Longest box or `####` line that is read; no number that a person would write is longer."""

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_NUMBER = rf"(?:{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
_ANSWER = re.compile(
    rf"(?P<sign>[-+]?)\s*(?:(?P<whole>{_DIGITS})\s+(?={_NUMBER}\s*/))?"
    rf"(?P<numerator>{_NUMBER})(?:\s*/\s*(?P<denominator>{_NUMBER}))?"
    r"\s*(?:%|°)?\s*(?:[^\W\d_][^\d,+*=<>]{0,60})?"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_EXPONENT = re.compile(r"\^\s*(?:\{\s*[23]\s*\}|[23]|\{?\s*\\circ\s*\}?)|[²³]")
_SPACING = re.compile(r"\\[,!;:]")
_IGNORED = str.maketrans({"\u2212": "-", "\u00a0": " ", "$": "", "€": "", "£": "", "\\": " "})


def extract_answer(text: str) -> Fraction | None:
    """Return the number that `text` gives as its answer, None if it gives none."""
    boxed = last_boxed(text)
    if boxed is not None:
        return parse_number(boxed)
    marker = text.rfind("####")
    if marker < 0:
        return None
    # one character too many stays in, so that a line that goes on behind the limit is too long for a number
    return parse_number(text[marker + 4 : marker + 5 + MAX_ANSWER_CHARS].split("\n", 1)[0])


def last_boxed(text: str) -> str | None:
    r"""Return what stands in the last `\boxed{...}` of `text`, None if there is none or it is not closed."""
    found = text.rfind("\\boxed")
    if found < 0:
        return None
    body = text[found + len("\\boxed") : found + MAX_ANSWER_CHARS].lstrip()
    depth = 0
    for place, character in enumerate(body):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
        if depth == 0:
            return body[1:place] if place else None
    return None


@lru_cache(maxsize=1024)  # a check reads the expected answer twice, and the same again where the reply gives it so
def parse_number(text: str) -> Fraction | None:
    r"""Read one number: `1,250`, `-3.5`, `$40`, `75%`, `12 km`, `3/4`, `2 1/2`, `\frac{3}{4}`, `x = 7`.

    Percent signs and units are dropped, so `75%` is 75. Commas separate thousands in groups of three and a
    point the decimals; anything ambiguous (`1,25`) is no number.
    """
    if len(text) > MAX_ANSWER_CHARS:
        return None
    match = _ANSWER.fullmatch(_plain(text))
    if match is None:
        return None
    value = _rational(match["numerator"])
    if match["denominator"]:
        divisor = _rational(match["denominator"])
        if divisor == 0:
            return None
        value /= divisor
    if match["whole"]:
        value += _rational(match["whole"])
    return -value if match["sign"] == "-" else value


def _plain(text: str) -> str:
    r"""Turn LaTeX and Markdown into plain characters and keep what follows the last `=`."""
    text = text.replace("{,}", ",")
    text = _SPACING.sub("", text)
    text = _TEXT.sub(r" \1 ", text)
    text = _FRACTION.sub(lambda found: f" {found[1] or found[2]}/{found[3] or found[4]} ", text)
    text = _EXPONENT.sub("", text).translate(_IGNORED)
    return text.rpartition("=")[2].lstrip(" \t\r\n*_`(").rstrip(" \t\r\n*_`).")


def _rational(number: str) -> Fraction:
    return Fraction(number.replace(",", ""))
