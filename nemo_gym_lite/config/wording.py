"""Words that configuration errors share: near matches, and pydantic's complaints in one line each."""

import difflib
from collections.abc import Iterable

from pydantic import ValidationError

from nemo_gym_lite.config.masking import mask_secrets


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """Return "did you mean ..." with up to three known names that look like `name`, else `otherwise`.

    Args:
        name: What the user wrote.
        known: What could have been written.
        otherwise: The text if nothing is similar enough.
        cutoff: Similarity from 0 (anything goes) to 1 (the same).
    """
    matches = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=cutoff)
    return f"did you mean {' or '.join(f'`{match}`' for match in matches)}?" if matches else otherwise


def complaints(error: ValidationError, prefix: str = "") -> list[str]:
    """Return one line per complaint: the dotted field, what is expected, and the value if it is no secret."""
    lines = []
    for detail in error.errors(include_url=False):
        place = ".".join([*([prefix] if prefix else []), *(str(part) for part in detail["loc"])])
        text = detail["msg"][:1].lower() + detail["msg"][1:]
        shown = mask_secrets({place.rpartition(".")[2]: detail["input"]}).popitem()[1]
        lines.append(f"{place}: {text}" + ("" if detail["type"] == "missing" else f", got {shown!r:.200}"))
    return lines
