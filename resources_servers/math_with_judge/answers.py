r"""Answers as texts: what is boxed, and whether two texts are the same but for how they are set.

Only what certainly means the same is called the same here: spacing, `$`, `\left`, `\dfrac`, thousands written `{,}`.
Whether two different expressions are equal is for the library, or the judge.
"""

import re

_DELIMITERS = (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"))
_SPACING = re.compile(r"\\[,!;: ]|\s+|\\left(?![a-z])|\\right(?![a-z])|~")
_FRACTION = re.compile(r"\\[dt]frac")


def last_boxed(text: str) -> str | None:
    r"""Return what stands in the last `\boxed{...}`; None if there is none, or it is empty or never closed."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for place in range(start + len("\\boxed"), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + len("\\boxed{") : place].strip() or None
    return None


def without_delimiters(text: str) -> str:
    r"""Take away `$...$`, `\(...\)` and `\boxed{...}` around the whole of `text`."""
    text = text.strip()
    for opening, closing in _DELIMITERS:
        if text.startswith(opening) and text.endswith(closing) and len(text) >= len(opening) + len(closing):
            text = text[len(opening) : len(text) - len(closing)].strip()
    boxed = last_boxed(text)
    return boxed if boxed is not None and text == f"\\boxed{{{boxed}}}" else text


def is_same_text(one: str, other: str) -> bool:
    """Whether two answers are written the same, but for how they are set."""
    return _plain(one) == _plain(other)


def _plain(text: str) -> str:
    text = without_delimiters(text).replace("{,}", ",")
    return _SPACING.sub("", _FRACTION.sub(r"\\frac", text)).rstrip(".")
