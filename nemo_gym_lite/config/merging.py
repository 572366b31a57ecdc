"""Plain-data trees: deep merge, dotted paths, and walking over all values."""

from collections.abc import Iterator
from typing import Any

from nemo_gym_lite.clients import Json

MISSING = "???"
"""What OmegaConf writes for a value that the user still has to give."""


def merge(low: Json, high: Json) -> Json:
    """Return a new tree in which `high` wins: mappings merge, lists and values replace, `???` does not."""
    merged = dict(low)
    for key, value in high.items():
        if isinstance(value, dict):
            old = merged.get(key)
            merged[key] = merge(old if isinstance(old, dict) else {}, value)
        elif value != MISSING or key not in merged:
            merged[key] = value
    return merged


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value that is no container with its dotted path; list items as `a[0]`."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from leaves(value, f"{path}[{index}]")
    else:
        yield path, node
