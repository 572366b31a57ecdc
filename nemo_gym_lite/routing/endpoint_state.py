"""What a pool knows of one endpoint."""

from dataclasses import dataclass, field

from nemo_gym_lite.errors import EndpointError
from nemo_gym_lite.routing.snapshot import EndpointCondition, EndpointSnapshot

RECENT = 1 / 32
"""Weight of the latest answer in an endpoint's mean latency."""


@dataclass(eq=False, slots=True)
class EndpointState:
    """What the pool knows of one endpoint. Times are clock seconds."""

    base_url: str
    in_flight: int = 0
    sessions: int = 0
    answered: int = 0
    failed: int = 0
    mean_latency_s: float | None = None  # of recent answers
    failures: int = 0  # consecutive; one success resets it
    rests: int = 0  # consecutive; one success resets it
    down: bool = False
    probing: bool = False
    rest_until_s: float = 0.0
    pause_until_s: float = 0.0
    last_error: EndpointError | None = None
    reported: set[str] = field(default_factory=set)  # failure classes already logged
    outage_logged: bool = False
    quiet_until_s: float = 0.0

    def opens_s(self) -> float:
        """When it takes requests again; it may be the past."""
        return max(self.rest_until_s, self.pause_until_s)

    def condition(self, now_s: float) -> EndpointCondition:
        """What it is doing."""
        if self.down:
            return "probing" if self.probing else "down"
        return "paused" if self.pause_until_s > now_s else "up"

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
        state = "down" if self.down else "up"
        return f"<{self.base_url} {state} in_flight={self.in_flight} sessions={self.sessions}>"
