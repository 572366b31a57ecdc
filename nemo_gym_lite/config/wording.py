"""Words that configuration errors share: near matches, and pydantic's complaints in one line each."""

import difflib
import re
from collections.abc import Iterable

from pydantic import ValidationError

from nemo_gym_lite.config.masking import mask_secrets


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """Return "did you mean ..." with up to three known names that look like `name`, else `otherwise`."""
    matches = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=cutoff)
    return f"did you mean {' or '.join(f'`{match}`' for match in matches)}?" if matches else otherwise


_UNION_MEMBER = re.compile(r"(constrained-)?(int|float|str|bool)|.*\[.*\]")
"""What pydantic adds to the place of a fault to say which of several types it tried."""


def complaints(error: ValidationError, prefix: str = "") -> list[str]:
    """Return one line per complaint: the dotted field, what is expected, and the value if it is no secret."""
    lines = []
    for detail in error.errors(include_url=False):
        parts = [str(part) for part in detail["loc"] if not _UNION_MEMBER.fullmatch(str(part))]
        place = ".".join([*([prefix] if prefix else []), *parts])
        message = detail["msg"].removeprefix("Value error, ")
        text = "there is no such key" if detail["type"] == "extra_forbidden" else message
        shown = mask_secrets({place.rpartition(".")[2]: detail["input"]}).popitem()[1]
        value = "" if detail["type"] == "missing" else f", got {shown!r:.200}"
        said = f"{text[:1].lower()}{text[1:]}"
        lines.append(f"{place}: {said}{value}" if place else said)  # the value of all fields together may hold secrets
    return lines
