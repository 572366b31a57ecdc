"""How many rollouts may be in flight: what was asked, what is left to play, what the system has room for."""

import resource
from typing import Literal

from nemo_gym_lite.rollouts.progress import say

_FILES_PER_ROLLOUT = 2
"""A connection to the engine, and one to the environment."""

_OTHER_FILES = 64
"""Open files that a run needs besides, imports of environments included."""


def most_in_flight(asked: int | Literal["auto"], total: int, workers: int = 1) -> int:
    """The most that there may ever be in a run.

    Args:
        asked: What the user said; `auto` is steered, and ends where the system does.
        total: Rollouts asked for.
        workers: Processes that share them.
    """
    wanted = max(1, total if asked == "auto" else min(asked, total))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = max(1, (files - _OTHER_FILES) // _FILES_PER_ROLLOUT) * workers
    if files == resource.RLIM_INFINITY or wanted <= room:
        return wanted
    if asked != "auto":
        say(f"warning: {room} rollouts in flight, not {wanted}: a process may open {files} files, see `ulimit -Hn`")
    return room
