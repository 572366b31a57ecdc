"""How fast a run goes lately: an average that forgets, so that the time left follows a change of speed."""

import math

_MEMORY_S = 60.0
"""Seconds that are remembered at least: long enough for episodes that end in bursts."""

_MEMORY_SHARE = 0.25
"""Share of the run that is remembered if that is longer: a run of days need not mind every minute."""


class Pace:
    """Rates per second of counts that only grow, weighted towards now.

    Each second counts `1/e` as much as one that is a memory younger; until the memory is full, this is the plain
    average since the start.

    Args:
        now_s: Clock time of the start, in seconds.
        counts: The counts at the start.
    """

    def __init__(self, now_s: float, *counts: float) -> None:
        self._began_s = self._now_s = now_s
        self._counts = counts
        self._seconds = 0.0
        self._gained = [0.0] * len(counts)

    def note(self, now_s: float, *counts: float) -> None:
        """Take the counts of now."""
        passed_s = now_s - self._now_s
        memory_s = max(_MEMORY_S, _MEMORY_SHARE * (now_s - self._began_s))
        keep = math.exp(-passed_s / memory_s)
        self._seconds = self._seconds * keep + passed_s
        self._gained = [
            gained * keep + count - before
            for gained, count, before in zip(self._gained, counts, self._counts, strict=True)
        ]
        self._now_s, self._counts = now_s, counts

    def per_s(self) -> list[float]:
        """The rates of now, in counts per second; 0 before any time has passed."""
        return [gained / self._seconds if self._seconds > 0 else 0.0 for gained in self._gained]
