"""Barks when rollouts play and none ends: it names those that have waited for longest, and what for."""

from collections.abc import Sequence

from nemo_gym_lite.rollouts.vitals import EpisodeSnapshot

_NAMED = 3
"""Episodes named in one line; what holds the first one up holds the others up."""


class Watchdog:
    """Looks at a run now and then. A silence that goes on is told at ever longer intervals, each twice the last.

    Args:
        quiet_s: Seconds without an end after which it speaks.
        now_s: Clock time of the start, in seconds.
    """

    def __init__(self, quiet_s: float, now_s: float) -> None:
        self._quiet_s = quiet_s
        self._ended = 0
        self._since_s = now_s
        self._patience_s = quiet_s

    def look(self, now_s: float, oldest: Sequence[EpisodeSnapshot], ended: int, in_flight: int) -> str | None:
        """What the user should know, None if all is well; rollouts `ended` since the start, `in_flight` now."""
        if ended != self._ended or not in_flight:
            self._ended, self._since_s, self._patience_s = ended, now_s, self._quiet_s
            return None
        silent_s = now_s - self._since_s
        if silent_s < self._patience_s:
            return None
        self._patience_s *= 2
        names = "".join(f"\n  {episode}" for episode in oldest[:_NAMED])
        return f"no rollout has ended for {silent_s:.0f} s, {in_flight} in flight; the oldest:{names}"
