"""Time as a value that is handed in, so that rests, deadlines and backoffs are tested without waiting."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock. All times are in seconds."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)
