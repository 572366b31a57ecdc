"""Who plays the rollouts of a run: this process, or several."""

import time
from collections.abc import Mapping
from typing import Protocol

from nemo_gym_lite.bottleneck.loop_time import loop_time
from nemo_gym_lite.clients import ModelClient
from nemo_gym_lite.rollouts.line import Line
from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.rollouts.player import Player
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.rollouts.vitals import OLDEST, EpisodeSnapshot, Vitals
from nemo_gym_lite.routed_model import RoutedModelClient
from nemo_gym_lite.routing.engine_metrics import OwnEngine


class Crew(Protocol):
    """Plays rollouts, any number at once."""

    async def play(self, spec: Spec, attempts: int = 0) -> Line:
        """Play one; only a cancellation gets out of here."""
        ...

    @property
    def engines(self) -> Mapping[str, OwnEngine]:
        """By base URL, the engines in this process."""
        ...

    def vitals(self) -> Vitals:
        """How it is doing."""
        ...

    async def close(self) -> None:
        """End."""
        ...


class LocalCrew:
    """Plays in this process.

    Args:
        player: Who plays.
        models: By instance name, the models that it plays with.
        ticker: Knows how late the event loop was.
    """

    def __init__(self, player: Player, models: Mapping[str, ModelClient], ticker: Ticker) -> None:
        self._player = player
        self._models = {name: model for name, model in models.items() if isinstance(model, RoutedModelClient)}
        self._ticker = ticker
        self._began = loop_time()
        self.play = player.play
        own = (model.engine for model in self._models.values() if model.engine is not None)
        self.engines: Mapping[str, OwnEngine] = {engine.base_url: engine for engine in own}

    def vitals(self) -> Vitals:
        """How this process is doing."""
        now_s = time.monotonic()
        vitals = Vitals(
            endpoints={name: list(model.router.pool.snapshot()) for name, model in self._models.items()},
            oldest=[EpisodeSnapshot.of(episode, now_s) for episode in self._player.episodes.oldest(OLDEST)],
            loop_lag_s=self._ticker.lag_s,
            stages=self._player.episodes.stages(),
            loop=loop_time().since(self._began),
        )
        for model in self._models.values():
            vitals.calls.merge(model.router.stats)
        return vitals

    async def close(self) -> None:
        """Agents and models belong to whoever made them."""
