"""Curves from what engines and manifests recorded, over the seconds since a scenario began."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from benchmarks.soak.engines import EngineProcess
from benchmarks.soak.verdict import Line


def rate(label: str, times_s: Iterable[float], began_s: float, width_s: float = 1.0) -> Line:
    """How many per second, counted in intervals of `width_s` seconds; empty intervals are zero."""
    counts: dict[int, int] = {}
    for when_s in times_s:
        slot = int((when_s - began_s) // width_s)
        counts[slot] = counts.get(slot, 0) + 1
    slots = range(min(counts, default=0), max(counts, default=-1) + 1)
    return Line(
        label, [slot * width_s for slot in slots], [counts.get(slot, 0) / width_s for slot in slots], steps=True
    )


def load(label: str, history: dict[str, list[float]], began_s: float, column: str = "in_flight") -> Line:
    """A column of an engine's history; a value holds until the next."""
    return Line(label, [when_s - began_s for when_s in history["epoch_s"]], history[column], steps=True)


def lives(engine: EngineProcess, began_s: float) -> list[tuple[float, float, str]]:
    """The times between an engine's lives, as spans of a panel."""
    return [
        (died_s - began_s, returned_s - began_s, "dead")
        for (_, died_s), (returned_s, _) in pairwise(engine.lives)
        if died_s is not None
    ]


def of_manifest(manifest: dict[str, Any], column: str, began_s: float) -> tuple[list[float], list[float]]:
    """Seconds and values of a column of the last run's history in `X_run.json`, which begins at a whole second."""
    if not manifest.get("history"):
        return [], []
    history = manifest["history"][-1]
    shift_s = datetime.fromisoformat(history["begun"]).timestamp() - began_s
    points = [(t_s + shift_s, value) for t_s, value in zip(history["t_s"], history[column], strict=True)]
    return [t_s for t_s, _ in points], [value for _, value in points]


def longest_above(history: dict[str, list[float]], ceiling: float, from_s: float, until_s: float) -> float:
    """Longest time, in seconds, that an engine's requests in flight stayed above `ceiling` between two moments."""
    times, least, last = history["epoch_s"], history["least_in_flight"], history["in_flight"]
    longest = began = 0.0
    above = False
    for number, when_s in enumerate(times):
        if when_s < from_s or when_s >= until_s:
            continue
        if least[number] <= ceiling:
            above = False
        if last[number] > ceiling:
            began, above = (began, True) if above else (when_s, True)
            until = times[number + 1] if number + 1 < len(times) else when_s
            longest = max(longest, min(until, until_s) - began)
        else:
            above = False
    return longest


def most_within(rows: Sequence[tuple[float, float]], window_s: float) -> list[tuple[float, float]]:
    """At each time, the sum of the amounts of the `window_s` seconds before it."""
    found, first, total = [], 0, 0.0
    for when_s, amount in rows:
        total += amount
        while rows[first][0] <= when_s - window_s:
            total -= rows[first][1]
            first += 1
        found.append((when_s, total))
    return found
