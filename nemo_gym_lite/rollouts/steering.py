"""Keeps the number of rollouts in flight where admission wants it: asks the engines, and resizes the collector."""

import asyncio
import time
from typing import Protocol

import aiohttp

from nemo_gym_lite.rollouts.crew import Crew
from nemo_gym_lite.routing.admission import Admission
from nemo_gym_lite.routing.engine_metrics import EngineMetrics


class Resizable(Protocol):
    """A collector, as far as this goes."""

    @property
    def in_flight(self) -> int:
        """Rollouts that are in flight now."""
        ...

    def resize(self, limit: int) -> None:
        """Change the limit of rollouts in flight."""
        ...


class Steering:
    """Looks about once a second.

    Args:
        admission: Decides.
        crew: Knows its engines, and how its calls went.
        collector: What is steered.
        http: The process's session; owned by the caller.
    """

    def __init__(self, admission: Admission, crew: Crew, collector: Resizable, http: aiohttp.ClientSession) -> None:
        self.admission = admission
        self._crew = crew
        self._collector = collector
        self._metrics = EngineMetrics(http, time.monotonic, crew.engines)

    async def run(self) -> None:
        """Steer until cancelled."""
        while True:
            began_s = time.monotonic()
            await self._look()
            await asyncio.sleep(max(0.0, self.admission.interval_s - (time.monotonic() - began_s)))

    async def _look(self) -> None:
        readings = await self._metrics.read(self._crew.vitals().base_urls())
        admission = self.admission
        before = admission.limit
        admission.sensed(readings, self._crew.vitals().calls, self._collector.in_flight, time.monotonic())
        if admission.limit != before:
            self._collector.resize(admission.limit)
