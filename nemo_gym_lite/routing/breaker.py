"""When an endpoint is left alone after failures, and how one request finds out whether it is back.

closed     takes requests
open       rests after failures
half open  has rested, and a single request is its probe: an answer closes the breaker, a failure opens it anew
"""

from dataclasses import dataclass, field

from nemo_gym_lite.errors import EndpointError
from nemo_gym_lite.routing.retry import MISCONFIGURED_STATUSES

FIRST_REST_S = 0.5
"""A first rest is short, so that a hiccup costs little; each rest in a row is twice the one before."""

QUICK_REST_S = 2.0
"""Longest rest of an endpoint that fails at once: a probe costs nothing there, and one that is back should be seen
soon."""

QUICK_S = 1.0
"""A failure within this time is quick."""

TRUSTED_S = 2.0
"""Where connections were refused at once, one that has held for so long says that the endpoint is back: its answer may
take minutes."""

REMEMBERED = 20
"""Outcomes that a failure rate is taken over; there is none before so many are known."""

_MASK = (1 << REMEMBERED) - 1


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """What takes an endpoint out.

    Attributes:
        trip_after: Failures in a row.
        trip_rate: Share of failures among the last `REMEMBERED` outcomes, 0 to 1.
        rest_s: Longest rest, in seconds, of an endpoint whose failures take time.
    """

    trip_after: int = 3
    trip_rate: float = 0.5
    rest_s: float = 10.0


@dataclass(slots=True)
class Breaker:
    """One endpoint's. Times are clock seconds.

    Attributes:
        policy: What takes it out.
        failures: In a row; one success resets it.
        rests: In a row; one success resets it.
        down: Whether the breaker is open or half open.
        probing: Whether it is half open.
        rest_until_s: When the rest is over.
        trusted_from_s: When the probe counts as accepted, however long its answer takes.
    """

    policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    failures: int = 0
    rests: int = 0
    down: bool = False
    probing: bool = False
    rest_until_s: float = 0.0
    trusted_from_s: float = float("inf")
    _outcomes: int = 0  # one bit each, the latest last, 1 is a failure
    _known: int = 0
    _was_gone: bool = False  # connections were refused at once

    def lets_in(self, now_s: float) -> bool:
        """Whether a request may go there."""
        if not self.down:
            return True
        return now_s >= (self.trusted_from_s if self.probing else self.rest_until_s)

    def next_change_s(self) -> float:
        """When time alone lets a request in; infinite if it takes an answer, the past if nothing stands in the way."""
        if not self.down:
            return 0.0
        return self.trusted_from_s if self.probing else self.rest_until_s

    def send(self, now_s: float) -> None:
        """A request goes there."""
        if self.down and not self.probing:
            self.probing = True
            self.trusted_from_s = now_s + TRUSTED_S if self._was_gone else float("inf")

    def withdraw(self) -> None:
        """A request was cancelled, which says nothing; the next one may be the probe."""
        self.probing = False

    def succeed(self) -> bool:
        """The endpoint answered: whatever was held against it is over. True if it was out."""
        self._outcomes = (self._outcomes << 1) & _MASK
        self._known += 1
        self.failures = 0
        if not self.down:
            return False
        self.down = self.probing = False
        self.rests = self._outcomes = self._known = 0
        return True

    def fail(self, error: EndpointError, took_s: float, now_s: float, *, others_open: bool) -> bool:
        """A request failed; True if that takes the endpoint out, or keeps it out.

        Args:
            error: How.
            took_s: Seconds after it was sent.
            now_s: Clock time.
            others_open: Whether other endpoints take requests. If not, an endpoint that answers at all stays in:
                there is nothing better, and the requests themselves back off.
        """
        self._outcomes = (self._outcomes << 1 | 1) & _MASK
        self._known += 1
        self.failures += 1
        if self.down and not self.probing:
            return False  # a straggler from before it went out
        if not (self.probing or error.failure_class == "unreachable" or (others_open and self._is_hopeless(error))):
            return False
        self.rest_until_s = now_s + self._rest_s(error, took_s)
        self._was_gone = error.failure_class in {"unreachable", "reset"} and took_s < QUICK_S
        self.rests += 1
        self.down, self.probing = True, False
        return True

    def _is_hopeless(self, error: EndpointError) -> bool:
        if error.status in MISCONFIGURED_STATUSES or self.failures >= self.policy.trip_after:
            return True
        return self._known >= REMEMBERED and self._outcomes.bit_count() >= self.policy.trip_rate * REMEMBERED

    def _rest_s(self, error: EndpointError, took_s: float) -> float:
        if error.failure_class == "timeout":  # a probe that hangs costs its rollout a whole deadline
            return self.policy.rest_s
        longest_s = self.policy.rest_s if took_s >= QUICK_S else min(QUICK_REST_S, self.policy.rest_s)
        return min(longest_s, FIRST_REST_S * 2.0 ** min(self.rests, 30))
