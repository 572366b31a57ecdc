"""What is known of one endpoint at one moment, for the status table, the watchdog and the metrics."""

from dataclasses import dataclass
from typing import Literal

EndpointCondition = Literal["up", "down", "probing", "paused", "leaving"]


@dataclass(frozen=True, slots=True)
class EndpointSnapshot:
    """One endpoint as its pool sees it.

    Attributes:
        base_url: Which one.
        state: `up`; `down`: rests after failures; `probing`: rests, and one request finds out whether it is back;
            `paused`: asked for patience; `leaving`: was taken off the list and finishes what it has.
        in_flight: Requests that it has not answered yet.
        sessions: Episodes that live there.
        answered: Requests that it answered so far.
        failed: Requests that failed there so far.
        mean_latency_s: Seconds that its recent answers took, None before the first.
        last_error: Its last failure, empty if there was none.
    """

    base_url: str
    state: EndpointCondition
    in_flight: int = 0
    sessions: int = 0
    answered: int = 0
    failed: int = 0
    mean_latency_s: float | None = None
    last_error: str = ""
