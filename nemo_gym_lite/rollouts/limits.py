"""How many rollouts may be in flight: what was asked, what is left to play, what the system has room for."""

import resource
from typing import Literal

from nemo_gym_lite.rollouts.progress import say

_FILES_PER_ROLLOUT = 2
"""A connection to the engine, and one to the environment."""

_OTHER_FILES = 64
"""Open files that a run needs besides, imports of environments included."""


def most_in_flight(asked: int | Literal["auto"], endpoints: int, total: int) -> int:
    """The limit for a run.

    Args:
        asked: What the user said.
        endpoints: Number of model endpoints.
        total: Rollouts asked for.
    """
    wanted = min(100 * endpoints if asked == "auto" else asked, max(1, total))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = max(1, (files - _OTHER_FILES) // _FILES_PER_ROLLOUT)
    if files == resource.RLIM_INFINITY or wanted <= room:
        return wanted
    say(f"warning: {room} rollouts in flight, not {wanted}: this process may open {files} files, see `ulimit -Hn`")
    return room
