"""Does what has to be done every so often while rollouts play, and notices when the event loop was kept from it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

TICK_S = 0.25
"""Four looks a second at most: a display must not cost what it shows."""

_LAGS_KEPT = 40
"""Ticks over which the worst lag is told: ten seconds."""


@dataclass(slots=True)
class _Duty:
    call: Callable[[], Awaitable[object] | None]
    every: int  # ticks


class Ticker:
    """Calls duties from one task, so that they never run at the same time.

    Args:
        tick_s: Seconds between two looks.
    """

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._duties: list[_Duty] = []
        self._lags_s: deque[float] = deque([0.0], maxlen=_LAGS_KEPT)

    @property
    def lag_s(self) -> float:
        """The longest, in seconds, that the event loop was lately late for a tick: somebody's code did not await."""
        return max(self._lags_s)

    def every(self, seconds: float, call: Callable[[], Awaitable[object] | None]) -> None:
        """Call `call` about every so many seconds, and await what it returns."""
        self._duties.append(_Duty(call, max(1, round(seconds / self._tick_s))))

    async def run(self) -> None:
        """Tick until cancelled; a duty that raises ends it."""
        loop = asyncio.get_running_loop()
        tick = 0
        while True:
            due_s = loop.time() + self._tick_s
            await asyncio.sleep(self._tick_s)
            self._lags_s.append(max(0.0, loop.time() - due_s))
            tick += 1
            for duty in self._duties:
                if tick % duty.every == 0 and (rest := duty.call()) is not None:
                    await rest
