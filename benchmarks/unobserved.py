"""`ng_collect_rollouts` without whatever watches it, to measure what that costs; no user has a reason for it."""

import sys
from typing import Any

from nemo_gym_lite.agents import simple_agent  # noqa: F401 - loaded here, so that it is blinded too
from nemo_gym_lite.cli import collect_rollouts
from nemo_gym_lite.rollouts import player, playing
from nemo_gym_lite.rollouts.progress import Tally
from nemo_gym_lite.routing.call_stats import CallStats


class NoEpisodes:
    """Remembers nobody."""

    def begin(self, *_: Any) -> None:
        """An episode begins, and nobody notes it."""

    def end(self, _: None) -> None:
        """An episode ends."""

    def oldest(self, _: int) -> list[Any]:
        """Nobody is known."""
        return []


class NoWatch:
    """Sees nothing."""

    def __init__(self, *_: Any) -> None: ...

    def look(self) -> None:
        """Look away."""

    close = look

    def history(self) -> dict[str, Any]:
        """There is none."""
        return {}


def nothing(*_: Any) -> None:
    """Stands for everything that is noted on a rollout's way."""


def blind() -> None:
    """Take out of this process what notes and looks."""
    for module in [module for name, module in sys.modules.items() if name.startswith("nemo_gym_lite")]:
        for name in ("at_stage", "at_turn", "at_endpoint"):
            if hasattr(module, name):
                setattr(module, name, nothing)
    replaced: list[tuple[Any, str, Any]] = [
        (player, "Episodes", NoEpisodes),
        (playing, "Watch", NoWatch),
        (CallStats, "add", nothing),
        (Tally, "count_tokens", nothing),
        (Tally, "count_time", nothing),
    ]
    for owner, name, substitute in replaced:
        setattr(owner, name, substitute)


if __name__ == "__main__":
    blind()
    sys.exit(collect_rollouts.main())
