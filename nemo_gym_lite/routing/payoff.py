"""Finds by trial how much in flight pays: more has to bring more results, or it only waits somewhere.

By Little's law the time that a rollout takes is what is in flight divided by results per second, so this watches
latency too, the wait in queues of our own included, and needs no histogram. It climbs the hill of results per second
over rollouts in flight in both directions, as Heiss and Wagner did for transactions (Adaptive load control in
transaction processing systems, VLDB 1991): upwards while more brings more, downwards where less costs nothing.
"""

import math
from dataclasses import dataclass

PAYS = 0.2
"""Share of a proportional gain that makes more in flight worth it: twice as much has to bring 15 % more."""

DOUBLE, CAREFUL = 2.0, 1.25
"""Steps of the first climb, and of those after it found its top."""

LONG, LONG_COMPLETIONS = 3, 64
"""Rounds, and completions, that a result needs at least; it is noisy where answers differ in length."""

SHORT, SHORT_COMPLETIONS = 2, 16
"""The same during the first climb, whose steps are large."""

SHORTEST_S = 1.0
"""And seconds."""

HOLDS = 4
"""Results at the chosen limit from one trial to the next: trials downwards cost something."""

SLOWER = 0.6
"""Results per second fallen to this share, with as much in flight, are trouble."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do.

    Attributes:
        limit: Rollouts that may be in flight.
        why: The reason, for people; empty if there is no news.
        slower: Whether this is a cut because everything takes longer.
    """

    limit: int
    why: str = ""
    slower: bool = False


@dataclass(slots=True)
class _Base:
    """What the chosen limit brings, in results per second."""

    limit: int
    rate: float


class Payoff:
    """Measures and climbs.

    Args:
        lowest: Limit below which no trial goes.
    """

    def __init__(self, lowest: int) -> None:
        self._lowest = lowest
        self._base: _Base | None = None
        self._step = DOUBLE
        self._up = True
        self._first_climb = True
        self._held = 0
        self._advised = self._measured = 0  # the limits that were advised last, and are being measured
        self._settled = False
        self._from_done, self._from_s = 0, 0.0

    def forget_measurement(self) -> None:
        """What was counted so far does not belong to the limit."""
        self._measured = 0

    def be_careful(self) -> None:
        """There was too much in flight: the first climb is over."""
        self._first_climb, self._step, self._held = False, CAREFUL, 0

    def fallback(self, limit: int) -> int:
        """The limit that was good before the trial with `limit`; 0 if that is no trial."""
        base = self._base
        return base.limit if base is not None and self._advised == limit > base.limit else 0

    def told(self, limit: int, done: int, highest: int, now_s: float) -> Advice:
        """Take a look, with `done` completions since the run began and the limit fully used since it was set; no more
        than `highest` is advised."""
        if limit != self._measured:
            if limit != self._advised:
                self._base = None  # somebody else had a reason to change it
            self._measured, self._settled = limit, False
            self._begin(done, now_s)
        count, seconds = done - self._from_done, now_s - self._from_s
        if not self._settled:
            if count >= limit:  # before, completions are those of another number in flight
                self._settled = True
                self._begin(done, now_s)
            return Advice(limit)
        rounds, fewest = (SHORT, SHORT_COMPLETIONS) if self._first_climb else (LONG, LONG_COMPLETIONS)
        if count < max(rounds * limit, fewest) or seconds < SHORTEST_S:
            return Advice(limit)
        self._begin(done, now_s)
        advice = self._judge(_Base(limit, count / seconds), highest)
        self._advised = advice.limit
        return advice

    def _begin(self, done: int, now_s: float) -> None:
        self._from_done, self._from_s = done, now_s

    def _judge(self, now: _Base, highest: int) -> Advice:
        base = self._base
        if base is None or now.limit == base.limit:
            return self._hold(base, now, highest)
        gain = math.log(now.rate / base.rate) / math.log(now.limit / base.limit)
        if (now.limit > base.limit) == (gain >= PAYS):
            self._base = now
            if not self._first_climb:
                self._step = min(DOUBLE, self._step**2)
            why = "more in flight brings more" if self._up else "less in flight costs nothing"
            return self._try(highest, why)
        self.be_careful()
        left = base.limit
        if self._up:  # as far as results rose
            left = min(now.limit, int(base.limit * max(1.0, now.rate / base.rate)))
            self._base = _Base(left, max(base.rate, now.rate))
        self._up = not self._up
        return Advice(left, "more in flight brings nothing" if left < now.limit else "less in flight costs results")

    def _hold(self, base: _Base | None, now: _Base, highest: int) -> Advice:
        if base is not None and now.rate < SLOWER * base.rate:
            self._base, self._held, self._up, self._step = None, 0, True, CAREFUL
            share = max(0.5, now.rate / base.rate)
            return Advice(
                max(1, int(share * now.limit)), f"everything takes {base.rate / now.rate:.1f} times as long", True
            )
        if base is None:
            self._base = now
        else:
            base.rate += (now.rate - base.rate) / 4
        self._held += 1
        if self._held < HOLDS and not self._first_climb:
            return Advice(now.limit)
        self._held = 0
        return self._try(highest, "looks whether another number pays")

    def _try(self, highest: int, why: str) -> Advice:
        """The next trial; the other way at an end of the range."""
        assert self._base is not None
        limit = self._base.limit
        for _ in range(2):
            if self._up:
                trial = min(highest, max(limit + 1, int(self._step * limit)))
            else:
                trial = max(self._lowest, min(limit - 1, int(limit / self._step)))
            if trial != limit and (trial > limit) == self._up:
                return Advice(trial, why)
            self._up, self._first_climb, self._step = not self._up, False, CAREFUL
        return Advice(limit, why)
