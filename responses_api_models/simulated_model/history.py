"""The engine's load over time, in a table that stays short: where it is full, two rows become one.

Rows are written only when something happens; between two of them nothing has changed.
"""

import time
from collections.abc import Callable
from typing import Any

FIRST_INTERVAL_S = 0.25
MAX_ROWS = 4_096
COLUMNS = (
    "t_s",
    "calls",
    "completed",
    "tokens",
    "least_in_flight",
    "most_in_flight",
    "in_flight",
    "running",
    "waiting",
)


class History:
    """Rows of `COLUMNS`, each for `interval_s` seconds.

    Attributes:
        began_s: Seconds since the epoch when it began; `t_s` counts from there.
        interval_s: Length of a row; doubles as the run grows.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.began_s = clock()
        self.interval_s = FIRST_INTERVAL_S
        self.rows: list[list[float]] = []

    def note(
        self, in_flight: int, running: int, waiting: int, calls: int = 0, completed: int = 0, tokens: int = 0
    ) -> None:
        """Note what has just happened, and the load after it."""
        t_s = (self._clock() - self.began_s) // self.interval_s * self.interval_s
        if not self.rows or self.rows[-1][0] != t_s:
            self._begin(t_s, in_flight)
        row = self.rows[-1]
        row[1] += calls
        row[2] += completed
        row[3] += tokens
        row[4] = min(row[4], in_flight)
        row[5] = max(row[5], in_flight)
        row[6], row[7], row[8] = in_flight, running, waiting

    def as_json(self) -> dict[str, Any]:
        """The table as a JSON object."""
        return {
            "began_s": self.began_s,
            "interval_s": self.interval_s,
            "columns": list(COLUMNS),
            "rows": self.rows,
        }

    def _begin(self, t_s: float, in_flight: int) -> None:
        if len(self.rows) >= MAX_ROWS:
            self._halve()
            t_s = t_s // self.interval_s * self.interval_s
            if self.rows[-1][0] == t_s:
                return
        before = self.rows[-1][6] if self.rows else in_flight
        self.rows.append([t_s, 0, 0, 0, min(before, in_flight), max(before, in_flight), in_flight, 0, 0])

    def _halve(self) -> None:
        self.interval_s *= 2
        merged: list[list[float]] = []
        for row in self.rows:
            t_s = row[0] // self.interval_s * self.interval_s
            if not merged or merged[-1][0] != t_s:
                merged.append([t_s, *row[1:]])
                continue
            into = merged[-1]
            into[1], into[2], into[3] = into[1] + row[1], into[2] + row[2], into[3] + row[3]
            into[4], into[5] = min(into[4], row[4]), max(into[5], row[5])
            into[6], into[7], into[8] = row[6], row[7], row[8]
        self.rows = merged
