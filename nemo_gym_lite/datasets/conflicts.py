"""Whether what a data file holds now is what an earlier metrics file says that it held."""

from collections.abc import Iterator
from typing import Any

_NEAR_LARGE, _NEAR_SMALL = 5e-3, 5e-4
"""How far two numbers may be apart: those of which one is 1 or more, and the others."""


def differences(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """Yield what changed, a line each. What is new is no difference, nor is another order of a list."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name, value in before.items():
            here = f"{place}.{name}" if place else str(name)
            if name in now:
                yield from differences(value, now[name], here)
            else:
                yield f"{here}: is gone, was {value!r:.80}"
    elif isinstance(before, list) and isinstance(now, list):
        if not _same_members(before, now):
            yield f"{place}: {before!r:.80} -> {now!r:.80}"
    elif not _same(before, now):
        yield f"{place}: {before!r:.80} -> {now!r:.80}"


def _same_members(before: list[Any], now: list[Any]) -> bool:
    left = list(now)
    for value in before:
        match = next((at for at, other in enumerate(left) if not any(differences(value, other))), None)
        if match is None:
            return False
        del left[match]
    return not left


def _same(before: Any, now: Any) -> bool:
    if isinstance(before, int | float) and isinstance(now, int | float):
        large = max(abs(before), abs(now)) >= 1
        return abs(before - now) <= (_NEAR_LARGE if large else _NEAR_SMALL)
    return bool(before == now)
