"""Where an episode is right now: who waits for what, so that a run that hangs can say so.

Whoever plays an episode puts it into `CURRENT`; what happens further down the line notes its turn, its stage and its
endpoint there, without knowing who reads it.
"""

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice

MODEL = "model"
"""Stage of an episode that waits for its model."""

LEAVE = "leave"
"""What it waits for as long as its call has not gone to any endpoint: limits hold it back, or all of them rest."""


@dataclass(eq=False, slots=True)
class Episode:
    """One rollout being played.

    Attributes:
        label: What a person calls it, as `task 17, rollout 2`.
        began_s: When it began, in seconds of `time.monotonic`.
        turns: Model calls begun so far.
        stage: What it waits for: `start`, `seed`, `model`, `tool NAME`, `reset`, `step`, `close` or `verify`.
        endpoint: Base URL that its model call went to; None while it waits for one that takes it.
    """

    label: str
    began_s: float
    turns: int = 0
    stage: str = "start"
    endpoint: str | None = None


CURRENT: ContextVar[Episode | None] = ContextVar("episode", default=None)
"""The episode that the running task plays; None in a server, which plays nobody's."""


def at_stage(stage: str) -> None:
    """Note what the current episode, if there is one, waits for from now on."""
    episode = CURRENT.get()
    if episode is not None:
        episode.stage = stage


def at_turn() -> None:
    """Note that the current episode, if there is one, asks its model for one more turn."""
    episode = CURRENT.get()
    if episode is not None:
        episode.turns += 1
        episode.stage, episode.endpoint = MODEL, None


def at_endpoint(base_url: str | None) -> None:
    """Note where the current episode, if there is one, has sent its request; None: it waits for an endpoint."""
    episode = CURRENT.get()
    if episode is not None:
        episode.endpoint = base_url


class Episodes:
    """Those that a process plays now, oldest first."""

    def __init__(self) -> None:
        self._playing: dict[Episode, None] = {}

    def begin(self, label: str, now_s: float) -> Episode:
        """Note that an episode begins, and make it the running task's; `end` must follow."""
        episode = Episode(label, now_s)
        self._playing[episode] = None
        CURRENT.set(episode)
        return episode

    def end(self, episode: Episode) -> None:
        """Forget an episode."""
        del self._playing[episode]
        CURRENT.set(None)

    def oldest(self, count: int) -> list[Episode]:
        """The `count` that have been playing for longest, or all if there are fewer."""
        return list(islice(self._playing, count))

    def stages(self) -> Counter[str]:
        """How many wait for what: `leave`, `model` or another stage."""
        return Counter(LEAVE if each.stage == MODEL and not each.endpoint else each.stage for each in self._playing)

    def __len__(self) -> int:
        return len(self._playing)
