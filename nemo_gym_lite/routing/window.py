"""How many requests an endpoint that asks for patience (429, 503, 529) gets at a time, and when.

All calls of an endpoint share one pause and one limit, because it refuses them together: a thousand rollouts that each
back off for themselves ask it a thousand times what one of them could have found out. The first refusal begins a
pause, as long as the endpoint asks for, or drawn at random and longer each time that not a single request got through
since the last one. What was on its way when the pause began belongs to the same trouble. Each refusal takes one off
the limit, so it falls at once to what the endpoint really took, and each answer adds `GROWTH`, so it comes to rest
where about one request in six is refused. Where less is refused only by chance (see `refusals`), answers add more.
"""

import math
import random
from dataclasses import dataclass, field

from nemo_gym_lite.routing.refusals import Refusals

GROWTH = 0.2
"""Added to the limit by each answer, taken off by a fifth of a refusal. Less would let an engine that refuses a few at
random starve; more would spend attempts on asking."""

OUTGROWN = 2.0
"""Answers add so many times what refusals take that would come whatever the limit was, up to one in two."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 8.0
"""Bounds of the pauses after refusals that name no time."""

EASING = 0.5
"""A pause in which nothing got through doubles the next one; so much of a doubling is taken back by one that was long
enough. So pauses stay near what the endpoint needs."""


@dataclass(slots=True)
class Window:
    """One endpoint's. Times are clock seconds.

    Attributes:
        limit: Requests that it gets at a time; no limit before the first refusal.
        pause_until_s: It gets nothing before.
    """

    limit: float = math.inf
    pause_until_s: float = 0.0
    _pause_began_s: float = -math.inf
    _step: float = -1.0  # doublings of the first pause
    _answered: int = 0  # since the last pause began
    _peak: int = 0  # most requests at a time since the last pause began
    _refusals: Refusals = field(default_factory=Refusals)

    def has_room(self, in_flight: int, now_s: float) -> bool:
        """Whether one more request may go there."""
        return in_flight <= self.limit - 1.0 and self.pause_until_s <= now_s

    def send(self, in_flight: int) -> None:
        """A request goes there; `in_flight` counts it."""
        self._peak = max(self._peak, in_flight)

    def answer(self, in_flight: int, sent_s: float, now_s: float) -> None:
        """A request that was sent at `sent_s` was answered; `in_flight` counts it."""
        if self.limit != math.inf:
            self._answered += 1
            self._refusals.note(self.limit, sent_s, now_s, refused=False)
            if 2 * max(in_flight, self._peak) >= self.limit:  # else it is not the limit that holds requests back
                share = min(0.5, self._refusals.share)
                self.limit += max(GROWTH, OUTGROWN * share / (1.0 - share))

    def refuse(
        self, in_flight: int, sent_s: float, now_s: float, retry_after_s: float | None, rng: random.Random
    ) -> None:
        """A request that was sent at `sent_s` was refused; `in_flight` counts it."""
        if sent_s > self._pause_began_s:
            self.limit = min(self.limit, self._peak)
            self._peak = in_flight
            self._begin_pause(now_s, rng)
        self._refusals.note(self.limit, sent_s, now_s, refused=True)
        self.limit = max(1.0, self.limit - 1.0)
        if retry_after_s is not None:
            self.pause_until_s = max(self.pause_until_s, now_s + retry_after_s)

    def _begin_pause(self, now_s: float, rng: random.Random) -> None:
        if self._refusals.share:
            self._step = 0.0  # no pause makes it refuse less
        else:
            self._step = max(0.0, self._step - EASING) if self._answered else self._step + 1.0
        self._answered = 0
        self._pause_began_s = now_s
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._step, 30.0))
        self.pause_until_s = max(self.pause_until_s, now_s + rng.uniform(pause_s / 2, pause_s))
