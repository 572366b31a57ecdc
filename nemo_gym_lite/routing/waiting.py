"""Requests for which no endpoint is open, the one with the least time left first, and the alarm that looks again."""

import asyncio
import heapq
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import count

from nemo_gym_lite.clock import Clock
from nemo_gym_lite.errors import NoHealthyEndpointError
from nemo_gym_lite.routing.endpoint_state import EndpointState


@dataclass(eq=False, slots=True)
class Waiter:
    """One request.

    Attributes:
        session_id: The episode.
        avoid: Endpoints that it had better not get.
        until_s: Clock time, in seconds, at which it gives up.
        granted: The endpoint, once there is one.
    """

    session_id: str
    avoid: Collection[EndpointState]
    until_s: float
    granted: asyncio.Future[EndpointState] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WaitingLine:
    """Orders waiters by the time they have left, then by arrival.

    Args:
        clock: Source of time.
        serve: Called when the alarm rings.
    """

    def __init__(self, clock: Clock, serve: Callable[[], None]) -> None:
        self._clock, self._serve = clock, serve
        self._waiters: list[tuple[float, int, Waiter]] = []
        self._number = count()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_s = 0.0

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, waiter: Waiter) -> None:
        """Take a waiter in."""
        heapq.heappush(self._waiters, (waiter.until_s, next(self._number), waiter))

    def first(self) -> Waiter | None:
        """Whose turn it is; those who have gone are passed over."""
        while self._waiters and self._waiters[0][2].granted.done():
            heapq.heappop(self._waiters)
        return self._waiters[0][2] if self._waiters else None

    def grant(self, state: EndpointState) -> None:
        """Send the first one to an endpoint."""
        heapq.heappop(self._waiters)[2].granted.set_result(state)

    def refuse(self, error: NoHealthyEndpointError) -> None:
        """Send the first one away."""
        heapq.heappop(self._waiters)[2].granted.set_exception(error)

    def ring_at(self, at_s: float) -> None:
        """Look again at `at_s`, in clock seconds, or earlier; infinite for never."""
        if self._alarm is not None:
            if self._alarm_s <= at_s < float("inf"):
                return
            self._alarm.cancel()
            self._alarm = None
        if at_s < float("inf"):
            self._alarm_s = at_s
            self._alarm = asyncio.get_running_loop().create_task(self._ring(at_s - self._clock.now()))

    async def _ring(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._alarm = None
        self._serve()
