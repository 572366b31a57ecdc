"""Columns of numbers for millions of rows: a few bytes each, and exact statistics without a copy."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, median
from typing import NamedTuple

_WIDTHS = (("b", -(1 << 7)), ("h", -(1 << 15)), ("i", -(1 << 31)))
"""Whole numbers take the narrowest of these that fits; its lowest value stands for a missing one."""

_FLOAT = "d"
_BUCKETS = 4096
_MAX_SORTED = 1 << 16
"""So many numbers are sorted in a list, which takes 2 MB; of more, only those around the middle."""


class Statistics(NamedTuple):
    """What a number of values comes to; `std` is the sample's, 0 for a single value."""

    mean: float
    max: float
    min: float
    median: float
    std: float


def statistics_of(values: Sequence[float]) -> Statistics:
    """Statistics of a few values, at least one."""
    if len(values) == 1:
        [value] = values
        return Statistics(value, value, value, value, 0.0)
    mean = fmean(values)
    variance = _squares(values, mean) / (len(values) - 1)
    return Statistics(mean, max(values), min(values), median(values), math.sqrt(variance))


class Column:
    """One number for each position, or none; all read back as floats.

    Most columns are rewards of 0 and 1 or counts of tokens, so they take one or two bytes each instead of eight.

    Attributes:
        count: Values that are there.
        sum: Their sum.
        counts: Whether all came as whole numbers, or as true and false.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.counts = True
        self._code: str
        self._missing: float
        self._code, self._missing = _WIDTHS[0]
        self._values: array[float] = array(self._code)

    def __iter__(self) -> Iterator[float]:
        """The values that are there, in order."""
        if self._code == _FLOAT:
            return (value for value in self._values if not math.isnan(value))
        missing = self._missing
        return (float(value) for value in self._values if value != missing)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the values take."""
        return len(self._values) * self._values.itemsize

    def at(self, position: int) -> float | None:
        """The value at a position, None where there is none."""
        if position >= len(self._values):
            return None
        value = self._values[position]
        return None if value == self._missing or value != value else float(value)  # noqa: PLR0124 - NaN is not

    def put(self, position: int, value: float) -> bool:
        """Store a finite value behind the last one, gaps between; False if the position is not behind it."""
        if position < len(self._values):
            return False
        if position > len(self._values):
            self._values.extend(array(self._code, [self._missing]) * (position - len(self._values)))
        if self._code == _FLOAT:
            self._values.append(value)
        else:
            whole = int(value)
            if whole != value or not self._missing < whole < -self._missing:
                self._widen(value)
                return self.put(position, value)
            self._values.append(whole)
        self.count += 1
        self.sum += value
        self.counts = self.counts and type(value) is not float
        return True

    def statistics(self) -> Statistics:
        """Exact statistics over all values, of which there is at least one."""
        low, high = min(self), max(self)
        mean = math.fsum(self) / self.count
        variance = _squares(self, mean) / max(1, self.count - 1)
        return Statistics(mean, high, low, self._median(low, high), math.sqrt(variance))

    def _widen(self, value: float) -> None:
        """Make room for a value that the present width cannot hold."""
        old, missing = self._values, self._missing
        wider = [(code, low) for code, low in _WIDTHS if low < missing and value == int(value) and low < value < -low]
        self._code, self._missing = wider[0] if wider else (_FLOAT, math.nan)
        self._values = array(self._code, (self._missing if number == missing else number for number in old))

    def _median(self, low: float, high: float) -> float:
        lower = self._ranked((self.count - 1) // 2, low, high)
        if self.count % 2 or sum(1 for value in self if value <= lower) > self.count // 2:
            return lower
        return (lower + min(value for value in self if value > lower)) / 2

    def _ranked(self, rank: int, low: float, high: float) -> float:
        """The value with `rank` values before it in order; narrows down to a range that is small enough to sort."""
        inside = self.count
        width = (high - low) / _BUCKETS
        while inside > _MAX_SORTED and 0.0 < width < math.inf:
            counts = [0] * (_BUCKETS + 1)
            for value in self:
                if low <= value <= high:
                    counts[int((value - low) / width)] += 1
            bucket = 0
            while rank >= counts[bucket]:
                rank -= counts[bucket]
                bucket += 1
            inside = counts[bucket]
            low, high = _ends(v for v in self if low <= v <= high and int((v - low) / width) == bucket)
            width = (high - low) / _BUCKETS
        if low == high:
            return low
        return sorted(value for value in self if low <= value <= high)[rank]


def _ends(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest of some values."""
    low, high = math.inf, -math.inf
    for value in values:
        if value < low:  # noqa: PLR1730 - a call of `min` for each of a million values takes three times as long
            low = value
        if value > high:  # noqa: PLR1730
            high = value
    return low, high


def _squares(values: Iterable[float], mean: float) -> float:
    """Sum of the squared distances to the mean; infinite where `**` would raise."""
    return math.fsum(distance * distance for value in values for distance in (value - mean,))
