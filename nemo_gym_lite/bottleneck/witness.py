"""Looks at a run while it plays, about once a second, and seldom at its engines; says at the end what held it back."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from nemo_gym_lite.bottleneck.causes import held_back_by
from nemo_gym_lite.bottleneck.looks import Looks
from nemo_gym_lite.bottleneck.loop_time import NO_TIME, loop_time
from nemo_gym_lite.bottleneck.verdict import Verdict
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.routing.engine_metrics import EngineMetrics, OwnEngine


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to look before a judgement, and how often.

    Attributes:
        least_s: Seconds that a run has to play: the first ones show how engines fill, not how they do when full.
        look_s: From one look to the next.
        engines_s: From one reading of the engines' pages to the next.
    """

    least_s: float = 20.0
    look_s: float = 1.0
    engines_s: float = 5.0


PATIENCE = Patience()


class Players(Protocol):
    """A crew, as far as this goes."""

    @property
    def engines(self) -> Mapping[str, OwnEngine]:
        """By base URL, the engines in this process."""
        ...

    def vitals(self) -> Vitals:
        """How it is doing."""
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """How much is played at a moment.

    Attributes:
        in_flight: Rollouts in flight.
        limit: How many may be.
        begins: Whether a rollout that ends makes room for another one.
    """

    in_flight: int
    limit: int
    begins: bool


class Witness:
    """Watches one run.

    Args:
        players: Who plays.
        load: Gives what is played now.
        http: This process's HTTP session, to ask engines how they do.
        auto: Whether the limit is found and not given.
        workers: Processes that play.
        patience: When to look.
    """

    def __init__(
        self,
        players: Players,
        load: Callable[[], Load],
        http: aiohttp.ClientSession,
        *,
        auto: bool,
        workers: int,
        patience: Patience = PATIENCE,
    ) -> None:
        self._players, self._load = players, load
        self._auto, self._workers, self._patience = auto, workers, patience
        self._metrics = EngineMetrics(http, time.monotonic, players.engines)
        self._looks = Looks()
        self._loop = NO_TIME

    async def run(self) -> None:
        """Look until cancelled."""
        began, last_s = loop_time(), time.monotonic()
        ask_s = last_s + self._patience.engines_s / 2
        while True:
            await asyncio.sleep(self._patience.look_s)
            now_s, vitals, load = time.monotonic(), self._players.vitals(), self._load()
            self._looks.note(now_s - last_s, vitals, load.in_flight, load.limit, begins=load.begins)
            self._loop, last_s = loop_time().since(began), now_s
            if now_s >= ask_s:
                ask_s = now_s + self._patience.engines_s
                self._looks.hear(await self._metrics.read(vitals.base_urls()))

    def verdict(self) -> Verdict | None:
        """What held the run back so far, None if it has played for too short a time to tell."""
        if self._looks.seconds < self._patience.least_s:
            return None
        inside = bool(self._players.engines)
        return held_back_by(
            self._looks.observations(auto=self._auto, workers=self._workers, collector=self._loop, own_engine=inside)
        )
