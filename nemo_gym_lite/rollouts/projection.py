"""Projects what a whole input will take from the rollouts of some of its tasks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from nemo_gym_lite.arms.comparison import t_quantile
from nemo_gym_lite.row_fields import KEY

CONFIDENCE = 0.9
"""Of ten such projections, nine hold what comes of the whole input."""


@dataclass(frozen=True, slots=True)
class Projection:
    """A sum over all rollouts.

    Attributes:
        each: Mean of one rollout.
        total: Of all rollouts, those that were played included.
        low: Lower end of the interval; `total` where nothing is left to project, None where one task says nothing.
        high: Its upper end.
    """

    each: float
    total: float
    low: float | None
    high: float | None

    def scaled(self, factor: float) -> "Projection":
        """The same in another unit."""
        ends = (None if end is None else end * factor for end in (self.low, self.high))
        return Projection(self.each * factor, self.total * factor, *ends)


class Played:
    """What the rollouts of each task took, whatever it is called.

    Attributes:
        rollouts: Number of rollouts, failed attempts included.
    """

    def __init__(self) -> None:
        self.rollouts = 0
        self._tasks: dict[str, tuple[int, dict[str, float]]] = {}

    def add(self, row: Mapping[str, Any], figures: Mapping[str, float]) -> None:
        """Take a rollout in."""
        self.rollouts += 1
        task = str(row.get(KEY, self.rollouts))
        count, sums = self._tasks.get(task, (0, {}))
        self._tasks[task] = (count + 1, {name: sums.get(name, 0.0) + value for name, value in figures.items()})

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self._tasks)

    def project(self, name: str, rollouts: int) -> Projection:
        """One figure over `rollouts` rollouts.

        Repeats of a task resemble each other, so tasks are what is drawn, and the interval is that of a mean over
        tasks.
        """
        means = [sums[name] / count for count, sums in self._tasks.values()]
        return project(means, rollouts, self.rollouts)


def project(drawn: Sequence[float], total: int, played: int) -> Projection:
    """Project the sum of `total` rollouts from the mean of each task drawn; that of `played` rollouts is known."""
    deviation = stdev(drawn) if len(drawn) > 1 else math.nan
    return projected(fmean(drawn) if drawn else 0.0, deviation, len(drawn), total, played)


def projected(mean: float, deviation: float, drawn: int, total: int, played: int) -> Projection:
    """The same from mean and standard deviation of the `drawn` tasks."""
    left = max(0, total - played)
    if not left:
        return Projection(mean, mean * total, mean * total, mean * total)
    if drawn < 2:
        return Projection(mean, mean * total, None, None)
    tasks_left = left * drawn / played
    error = deviation * left * math.sqrt(1 / tasks_left + 1 / drawn) * t_quantile(drawn - 1, 0.5 + CONFIDENCE / 2)
    return Projection(mean, mean * total, max(mean * played, mean * total - error), mean * total + error)
