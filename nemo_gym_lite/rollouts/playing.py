"""A run while it plays: the collector, and all that goes on beside it."""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import aiohttp
from prometheus_client.core import Metric

from nemo_gym_lite.bottleneck.verdict import Verdict
from nemo_gym_lite.bottleneck.witness import Load, Patience, Witness
from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import GymError, OutputError
from nemo_gym_lite.rollouts.budget import Budget
from nemo_gym_lite.rollouts.collector import Collector
from nemo_gym_lite.rollouts.conduct import beside
from nemo_gym_lite.rollouts.crew import Crew
from nemo_gym_lite.rollouts.limits import most_in_flight
from nemo_gym_lite.rollouts.line import Line
from nemo_gym_lite.rollouts.output import Output
from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.rollouts.progress import Progress, say
from nemo_gym_lite.rollouts.steering import Steering
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.rollouts.watch import LOOK_S, Watch
from nemo_gym_lite.routing.admission import Admission

_KEEP_S = 60.0
"""The history of a killed run is there up to the last minute."""


@dataclass(frozen=True, slots=True)
class PlaySettings:
    """How to play.

    Attributes:
        concurrency: Rollouts in flight at once; `auto` finds the number that fills the engines.
        workers: Processes that play.
        drain_s: Seconds that rollouts in flight get after a first Ctrl-C.
        watchdog_s: Seconds without a finished rollout after which the oldest are named.
        what: What the display calls it.
        patience: How long to look at what holds the run back before it is told; None never tells.
    """

    concurrency: int | Literal["auto"] = "auto"
    workers: int = 1
    drain_s: float = 30.0
    watchdog_s: float = 60.0
    what: str = "Collecting rollouts"
    patience: Patience | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended that nothing broke off.

    Attributes:
        key_metrics: By agent, the flat averages.
        interrupted: Whether it was stopped before everything was played.
        elapsed_s: Seconds from the first spec to the last line.
        held_back: What held throughput back, None if it played for too short a time to tell.
    """

    key_metrics: dict[str, Json]
    interrupted: bool
    elapsed_s: float
    held_back: Verdict | None = None


class Playing:
    """Plays what an output is owed.

    Args:
        output: Where lines go, and where they are counted.
        specs: The rollouts owed.
        crew: Who plays.
        settings: How.
        budget: Ends the run when it is used up.
        endpoints: Number of model endpoints.
        ticker: Calls what goes on beside the rollouts.

    Attributes:
        used_up: The budget that stopped the run, in words; None if none did.
    """

    def __init__(
        self,
        output: Output,
        specs: Iterator[Spec],
        crew: Crew,
        settings: PlaySettings,
        *,
        budget: Budget,
        endpoints: int,
        ticker: Ticker,
    ) -> None:
        self._output, self._crew, self._budget, self._ticker = output, crew, budget, ticker
        self.used_up: str | None = None
        self._settings = settings
        self._held_back: Callable[[], Verdict | None] = lambda: None
        self._auto = settings.concurrency == "auto"
        most = most_in_flight(settings.concurrency, output.tally.total, settings.workers)
        self._admission = Admission(endpoints, most)
        self._collector = Collector(
            specs,
            crew.play,
            output.sink,
            output.tally,
            limit=self._admission.limit if self._auto else most,
            observe=self._observe,
            drain_s=settings.drain_s,
            attempts=output.done.attempts,
        )
        self._watch = Watch(
            output.tally, crew.vitals, settings.watchdog_s, lambda: self._admission.why if self._auto else ""
        )

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Play to the end, or until somebody stops it.

        Args:
            http: This process's HTTP session, to ask engines how they do.

        Raises:
            OutputError: A line could not be written; what was written before is whole.
            ConfigError: The input changed under the run.
        """
        progress = Progress(self._output.tally, what=self._settings.what)
        self._ticker.every(0.25, progress.show)
        self._ticker.every(0.25, self._look_at_budget)
        self._ticker.every(1.0, self._output.sink.sync_aside)
        self._ticker.every(LOOK_S, self._watch.look)
        self._ticker.every(_KEEP_S, self._keep_history)
        duties = [self._ticker.run()]
        if self._auto:
            duties.append(Steering(self._admission, self._crew, self._collector, http).run())
        if self._settings.patience is not None:
            witness = Witness(
                self._crew,
                self._load,
                http,
                auto=self._auto,
                workers=self._settings.workers,
                patience=self._settings.patience,
            )
            self._held_back = witness.verdict
            duties.append(witness.run())
        if self._collector.owes_more():
            self._look_at_budget()  # an earlier run may have used it up
        try:
            await beside(self._collector.run(), duties)
        finally:
            progress.close()
            self._watch.close()

    async def run_to_the_manifest(
        self, http: aiohttp.ClientSession, sum_up: Callable[[], Awaitable[dict[str, Json]]]
    ) -> Ended:
        """Play, sum up, and note in the manifest how it ended.

        Args:
            http: This process's HTTP session, to ask engines how they do.
            sum_up: Writes the metrics of what was played and gives the key ones by agent.

        Raises:
            OutputError: A file could not be written; what was written before is kept.
            ConfigError: The input changed under the run.
        """
        output = self._output
        try:
            await self.run(http)
            elapsed_s = output.elapsed_s
            key_metrics = await sum_up()
        except GymError:
            with suppress(OutputError):  # on a full disk the manifest fails too; the first error is the one to tell
                output.finish("failed", output.elapsed_s, self.history)
            raise
        interrupted = self.stopped_short()
        output.finish("interrupted" if interrupted else "finished", elapsed_s, self.history)
        return Ended(key_metrics, interrupted, elapsed_s, self._held_back())

    def stop(self) -> None:
        """End early; see `Collector.stop`."""
        self._collector.stop()

    def stopped_short(self) -> bool:
        """Whether the run was stopped with something left to play; a budget that lasted to the end stopped nothing."""
        tally = self._output.tally
        if self._collector.stopped_early and (self._collector.owes_more() or tally.ended < tally.total):
            return True
        self.used_up = None
        return False

    def history(self) -> Json:
        """The speed over time, up to now."""
        held_back = self._held_back()
        return self._watch.history() | ({"held_back": held_back.as_json()} if held_back else {})

    def table(self) -> str:
        """What goes on now, as lines for a terminal."""
        return self._watch.table()

    def families(self) -> Iterable[Metric]:
        """The run as Prometheus metrics."""
        return self._watch.families()

    def _load(self) -> Load:
        tally = self._output.tally
        begins = not self._collector.stopped_early and tally.left > tally.in_flight
        return Load(tally.in_flight, tally.limit, begins)

    def _observe(self, line: Line) -> None:
        self._output.observe(line)
        self._admission.ended()
        self._look_at_budget()

    def _look_at_budget(self) -> None:
        if self.used_up is None:
            now_s = time.monotonic()
            self.used_up = self._budget.exhausted(now_s)
            if self.used_up is not None:
                say(f"stopping: {self.used_up}; rollouts in flight may finish")
                self._collector.stop(patiently=self._budget.has_time(now_s))

    def _keep_history(self) -> None:
        with suppress(OutputError):  # a full disk ends the run where a rollout cannot be written
            self._output.keep(self.history())
