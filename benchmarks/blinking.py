"""`ng_collect_rollouts` that closes its eyes every other stretch, to measure what seeing costs; no user has a reason.

Both kinds of stretches are of one process and a second apart at most, so what a busy machine does to one it does to the
other. At its end it leaves `blinks.json`: CPU milliseconds per rollout of each stretch, with open eyes first.
"""

import sys
import time
from pathlib import Path
from typing import Any

import orjson

from nemo_gym_lite.cli import collect_rollouts
from nemo_gym_lite.episode import Episode, Episodes
from nemo_gym_lite.rollouts.progress import Tally
from nemo_gym_lite.rollouts.watch import Watch
from nemo_gym_lite.routing.call_stats import CallStats

STRETCH = 600
"""Rollouts between two blinks; the first `UNSETTLED` of them began before the blink and do not count."""

UNSETTLED = 150

NOTES = ("at_stage", "at_turn", "at_endpoint")


def nothing(*_: Any) -> None:
    """Stands for everything that is noted on a rollout's way."""


def end_known(episodes: Episodes, episode: Episode | None, end: Any = Episodes.end) -> None:
    """End an episode, unless it began with closed eyes."""
    if episode in episodes._playing:
        end(episodes, episode)


class Eyes:
    """Opens and closes the eyes of this process, and notes what each stretch cost."""

    def __init__(self) -> None:
        self.costs_ms: list[float] = []
        self._count = 0
        self._began_s = 0.0
        Episodes.end = end_known  # type: ignore[method-assign]
        modules = [module for name, module in sys.modules.items() if name.startswith("nemo_gym_lite")]
        owners = [(module, name) for module in modules for name in NOTES if hasattr(module, name)]
        owners += [(Episodes, "begin"), (Episodes, "end"), (CallStats, "add"), (Tally, "count_tokens")]
        owners += [(Watch, "look"), (Watch, "families")]
        self._seeing = [(owner, name, getattr(owner, name)) for owner, name in owners]
        Tally.count_time = self._ended  # type: ignore[method-assign]

    def _ended(self, _: float) -> None:
        """Count a rollout; stands for `Tally.count_time` with open eyes and with closed ones."""
        self._count += 1
        if self._count == UNSETTLED:
            self._began_s = time.process_time()
        elif self._count == STRETCH:
            self.costs_ms.append((time.process_time() - self._began_s) / (STRETCH - UNSETTLED) * 1e3)
            self._blink(to_open=len(self.costs_ms) % 2 == 0)
            self._count = 0

    def _blink(self, *, to_open: bool) -> None:
        for owner, name, seeing in self._seeing:
            blind = tuple if name == "families" else nothing
            setattr(owner, name, seeing if to_open else blind)


if __name__ == "__main__":
    eyes = Eyes()
    code = collect_rollouts.main()
    Path("blinks.json").write_bytes(orjson.dumps(eyes.costs_ms))
    sys.exit(code)
