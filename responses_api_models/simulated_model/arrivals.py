"""When requests arrived, what they took and how they ended: the proof that a rate was kept."""

import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

RUNNING = 0
"""Status of a request that is not over, or whose connection broke."""


class Arrivals:
    """The latest `kept` generation requests, in a ring.

    Attributes:
        total: Requests ever.
    """

    def __init__(self, kept: int, clock: Callable[[], float] = time.time) -> None:
        self.kept, self.total = kept, 0
        self._clock = clock
        self._times_s, self._tokens, self._statuses = array("d"), array("q"), array("h")

    def add(self) -> int:
        """Note a request that has just come in; returns its number, for `tokens` and `ended`."""
        number = self.total
        self.total += 1
        if number < self.kept:
            self._times_s.append(self._clock())
            self._tokens.append(0)
            self._statuses.append(RUNNING)
        elif self.kept:
            at = number % self.kept
            self._times_s[at], self._tokens[at], self._statuses[at] = self._clock(), 0, RUNNING
        return number

    def took(self, number: int, tokens: int) -> None:
        """Note the tokens of a request: of its prompt at first, then with its answer's."""
        if self.total - number <= self.kept:
            self._tokens[number % self.kept] = tokens

    def ended(self, number: int, status: int) -> None:
        """Note the status that a request got."""
        if self.total - number <= self.kept:
            self._statuses[number % self.kept] = status

    def rows(self) -> Iterator[tuple[float, int, int]]:
        """(seconds since the epoch, tokens, status) of each, in the order in which they came."""
        count = len(self._times_s)
        begin = self.total % count if count else 0  # until the ring is full this is 0
        for number in range(begin, begin + count):
            at = number % count
            yield self._times_s[at], self._tokens[at], self._statuses[at]

    def most(self, window_s: float) -> tuple[int, int]:
        """Most requests, and most tokens, that arrived within any `window_s` seconds, refused ones included.

        Tokens count at the time when their request arrived.
        """
        rows = list(self.rows())
        first = tokens = most_requests = most_tokens = 0
        for last, (when_s, taken, _) in enumerate(rows):
            tokens += taken
            while rows[first][0] <= when_s - window_s:
                tokens -= rows[first][1]
                first += 1
            most_requests, most_tokens = max(most_requests, last - first + 1), max(most_tokens, tokens)
        return most_requests, most_tokens

    def as_json(self, window_s: float, *, rows: bool = False) -> dict[str, Any]:
        """Most requests and tokens in a window, and the rows where asked for."""
        requests, tokens = self.most(window_s)
        summary = {"total": self.total, "window_s": window_s, "most_requests": requests, "most_tokens": tokens}
        return {**summary, "columns": ["epoch_s", "tokens", "status"], "rows": list(self.rows())} if rows else summary
