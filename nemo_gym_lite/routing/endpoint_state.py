"""What a pool knows of one endpoint."""

from dataclasses import dataclass, field

from nemo_gym_lite.errors import EndpointError
from nemo_gym_lite.routing.breaker import Breaker
from nemo_gym_lite.routing.snapshot import EndpointCondition, EndpointSnapshot
from nemo_gym_lite.routing.window import Window

RECENT = 1 / 32
"""Weight of the latest answer in an endpoint's mean latency."""


@dataclass(eq=False, slots=True)
class EndpointState:
    """One endpoint. Times are clock seconds.

    Attributes:
        base_url: Which one.
        breaker: Whether it is left alone after failures.
        window: How much it gets while it asks for patience.
        leaving: It was taken off the list, and gets no further request.
    """

    base_url: str
    breaker: Breaker = field(default_factory=Breaker)
    window: Window = field(default_factory=Window)
    leaving: bool = False
    in_flight: int = 0
    sessions: int = 0
    answered: int = 0
    failed: int = 0
    mean_latency_s: float | None = None  # of recent answers
    last_error: EndpointError | None = None
    reported: set[str] = field(default_factory=set)  # failure classes already logged
    outage_logged: bool = False
    quiet_until_s: float = 0.0

    def is_open(self, now_s: float) -> bool:
        """Whether it takes one more request."""
        return not self.leaving and self.window.has_room(self.in_flight, now_s) and self.breaker.lets_in(now_s)

    def next_change_s(self) -> float:
        """When time alone opens it; infinite if it takes an answer, the past if nothing but room is missing."""
        return max(self.breaker.next_change_s(), self.window.pause_until_s)

    def condition(self, now_s: float) -> EndpointCondition:
        """What it is doing."""
        if self.leaving:
            return "leaving"
        if self.breaker.down:
            return "probing" if self.breaker.probing else "down"
        return "paused" if self.window.pause_until_s > now_s else "up"

    def time_answer(self, latency_s: float) -> None:
        """Take an answer's latency into the mean."""
        mean_s = self.mean_latency_s
        self.mean_latency_s = latency_s if mean_s is None else mean_s + (latency_s - mean_s) * RECENT

    def snapshot(self, now_s: float) -> EndpointSnapshot:
        """How it is doing, for those who watch."""
        return EndpointSnapshot(
            base_url=self.base_url,
            state=self.condition(now_s),
            in_flight=self.in_flight,
            sessions=self.sessions,
            answered=self.answered,
            failed=self.failed,
            mean_latency_s=self.mean_latency_s,
            last_error=self.last_error.message if self.last_error else "",
        )

    def __repr__(self) -> str:
        state = "down" if self.breaker.down else "up"
        return f"<{self.base_url} {state} in_flight={self.in_flight} sessions={self.sessions}>"
