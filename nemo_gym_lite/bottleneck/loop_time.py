"""How busy a thread is: what its event loop could not spend waiting for others."""

import time
from pathlib import Path
from typing import NamedTuple

_SCHEDULE = Path("/proc/thread-self/schedstat")
"""Nanoseconds that this thread ran, and that it could have run if a core had been free, by Linux."""


class LoopTime(NamedTuple):
    """Seconds of the calling thread since it began.

    Attributes:
        ran_s: Those in which it ran.
        waited_s: Those in which it had something to do and no core was free.
    """

    ran_s: float = 0.0
    waited_s: float = 0.0

    def since(self, earlier: "LoopTime") -> "LoopTime":
        """The seconds from `earlier` up to this one."""
        return LoopTime(self.ran_s - earlier.ran_s, self.waited_s - earlier.waited_s)

    def plus(self, other: "LoopTime") -> "LoopTime":
        """The seconds of two threads."""
        return LoopTime(self.ran_s + other.ran_s, self.waited_s + other.waited_s)


NO_TIME = LoopTime()


def loop_time() -> LoopTime:
    """The calling thread's seconds."""
    try:
        ran, waited, _ = _SCHEDULE.read_bytes().split()
    except (OSError, ValueError):  # not every kernel tells
        return LoopTime(time.thread_time())
    return LoopTime(int(ran) / 1e9, int(waited) / 1e9)
