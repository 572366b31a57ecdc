"""One run from its options to its files: what is owed is played, what was played is summed up."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import aiohttp
from prometheus_client.core import Metric

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import GymError, OutputError
from nemo_gym_lite.rollouts.budget import Budget, Spent
from nemo_gym_lite.rollouts.collector import Collector
from nemo_gym_lite.rollouts.conduct import beside
from nemo_gym_lite.rollouts.connect import Clients
from nemo_gym_lite.rollouts.crew import Crew
from nemo_gym_lite.rollouts.history import with_run
from nemo_gym_lite.rollouts.limits import most_in_flight
from nemo_gym_lite.rollouts.line import Line
from nemo_gym_lite.rollouts.manifest import Manifest
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.owed import owed_specs
from nemo_gym_lite.rollouts.own_metrics import own_metrics
from nemo_gym_lite.rollouts.progress import Progress, Tally, say
from nemo_gym_lite.rollouts.record import ended, open_manifest
from nemo_gym_lite.rollouts.report import write_metrics
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.resume import Done, scan
from nemo_gym_lite.rollouts.sink import Sink
from nemo_gym_lite.rollouts.steering import Steering
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.rollouts.watch import LOOK_S, Watch
from nemo_gym_lite.routing.admission import Admission

_KEEP_S = 60.0
"""The history of a killed run is there up to the last minute."""

_READ_IN_SILENCE_MB = 200.0
"""A larger output takes seconds to read, and a user wants to know what the command does."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        tally: What happened to the rollouts.
        interrupted: Whether it was stopped before everything was played.
        key_metrics: By agent, the flat averages.
        elapsed_s: Seconds from the first spec to the last line.
        budget: Which budget stopped it, in words; None if none did.
    """

    tally: Tally
    interrupted: bool
    key_metrics: dict[str, Json]
    elapsed_s: float
    budget: str | None = None


class Collection:
    """Holds the output of a request open while it is worked on.

    Opening it compares the manifest, takes the lock, repairs a torn tail and reads what is already there; nothing is
    deleted and no manifest written before `run`.

    Args:
        request: The run.
        asked: What decides how rollouts come out, flat.
        config: The resolved configuration, secrets masked, for the manifest.
        spent: Adds up what the output costs, from here on with everything that it holds already.

    Raises:
        ConfigError: The output was begun with other settings.
        OutputError: The output is in use, or not ours.
    """

    def __init__(self, request: Request, asked: Json, config: Json, spent: Spent) -> None:
        self.request = request
        self.files = request.files
        options = request.options
        self.manifest = open_manifest(request, asked, config)
        self.sink = Sink(self.files)
        try:
            self.metrics = RunMetrics()
            self.spent = spent
            attempts = options.max_rollout_attempts
            overwrites = options.overwrite
            size_mb = self.files.rollouts.stat().st_size / 1e6
            if size_mb > _READ_IN_SILENCE_MB and not overwrites:
                say(f"reading the rollouts that are there already ({size_mb:,.0f} MB)")
            self.done = Done(attempts) if overwrites else scan(self.files, self._take_in, attempts, spent.add)
        except BaseException:  # whatever it was, the lock must not stay
            self.sink.close()
            raise
        self.tally = Tally(request.rollouts, mean_reward=self.metrics.mean_reward(), cost_usd=spent.cost_usd)
        self._collector: Collector | None = None
        self._budget: Budget | None = None
        self._used_up: str | None = None
        self._watch: Watch | None = None

    def stop(self) -> None:
        """End early; see `Collector.stop`."""
        if self._collector is not None:
            self._collector.stop()

    def tell(self) -> None:
        """Print what the run does now: endpoints, limit, the oldest rollouts."""
        say("rollouts have not begun" if self._watch is None else self._watch.table())

    def families(self) -> Iterable[Metric]:
        """The run as Prometheus metrics."""
        return () if self._watch is None else self._watch.families()

    async def run(self, crew: Crew, clients: Clients, ticker: Ticker, http: aiohttp.ClientSession) -> Outcome:
        """Play what is owed, then write metrics and manifest.

        Args:
            crew: Who plays.
            clients: The environments, for their own metrics.
            ticker: Calls what goes on beside the rollouts.
            http: This process's HTTP session, to ask engines how they do.

        Raises:
            OutputError: A file could not be written; what was written before is kept.
        """
        options, began_s = self.request.options, time.monotonic()
        self._begin()
        self._budget = Budget(
            options.max_cost_usd, options.max_total_tokens, options.max_wall_s, now_s=began_s, spent=self.spent
        )
        try:
            await self._play(crew, clients.endpoints, ticker, http)
            elapsed_s = time.monotonic() - began_s
            await crew.close()  # its memory goes before the metrics are computed, and its CPU can be counted
            key_metrics = {} if options.disable_aggregation else await self._aggregate(clients)
        except GymError:
            with suppress(OutputError):  # on a full disk the manifest fails too; the first error is the one to tell
                self._finish("failed", time.monotonic() - began_s)
            raise
        interrupted = self._stopped_short()
        self._finish("interrupted" if interrupted else "finished", elapsed_s)
        return Outcome(self.tally, interrupted, key_metrics, elapsed_s, self._used_up)

    def close(self) -> None:
        """Release the output."""
        self.sink.close()

    async def _play(self, crew: Crew, endpoints: int, ticker: Ticker, http: aiohttp.ClientSession) -> None:
        options = self.request.options
        asked = options.num_samples_in_parallel
        most = most_in_flight(asked, self.tally.total, options.num_workers)
        admission = Admission(endpoints, most)
        self._collector = collector = Collector(
            owed_specs(self.request, self.done, self.manifest, self.tally),
            crew.play,
            self.sink,
            self.tally,
            limit=admission.limit if asked == "auto" else most,
            observe=partial(self._observe, admission),
            drain_s=options.drain_s,
            attempts=self.done.attempts,
        )
        progress = Progress(self.tally)
        self._watch = watch = Watch(
            self.tally, crew.vitals, options.watchdog_s, lambda: admission.why if asked == "auto" else ""
        )
        ticker.every(0.25, progress.show)
        ticker.every(0.25, self._look_at_budget)
        ticker.every(LOOK_S, watch.look)
        ticker.every(_KEEP_S, self._keep_history)
        ticker.every(1.0, self.sink.sync_aside)
        duties = [ticker.run()]
        if asked == "auto":
            duties.append(Steering(admission, crew, collector, http).run())
        if collector.owes_more():
            self._look_at_budget()  # an earlier run may have used it up
        try:
            await beside(collector.run(), duties)
        finally:
            progress.close()
            watch.close()

    def _stopped_short(self) -> bool:
        """Whether the run was stopped with something left to play; a budget that lasted to the end stopped nothing."""
        collector, tally = self._collector, self.tally
        if collector is None or not collector.stopped_early:
            return False
        if collector.owes_more() or tally.ended < tally.total:
            return True
        self._used_up = None
        return False

    def _take_in(self, row: Json) -> None:
        self.metrics.add(row)
        self.spent.add(row)

    def _observe(self, admission: Admission, line: Line) -> None:
        if line.failure_class is None:
            self.metrics.add(line.facts)
            self.tally.mean_reward = self.metrics.mean_reward()
        self.tally.count_tokens(line.facts.get("usage"))
        self.spent.add(line.facts)
        self.tally.cost_usd = self.spent.cost_usd
        admission.ended()
        self._look_at_budget()

    def _look_at_budget(self) -> None:
        if self._used_up is None and self._budget is not None and self._collector is not None:
            now_s = time.monotonic()
            self._used_up = self._budget.exhausted(now_s)
            if self._used_up is not None:
                say(f"stopping: {self._used_up}; rollouts in flight may finish")
                self._collector.stop(patiently=self._budget.has_time(now_s))

    async def _aggregate(self, clients: Clients) -> dict[str, Json]:
        own = {}
        for name, agent in self.metrics.agents.items():
            try:
                own[name] = await own_metrics(self.files.rollouts, name, agent.count, clients)
            except Exception as error:  # an environment's metrics are an extra: its bug must not cost the run's
                say(f"{name}: the environment's own metrics failed, ours are written: {error!r}")
        return await asyncio.to_thread(write_metrics, self.files, self.metrics, own)  # 20 s for a million tasks

    def _begin(self) -> None:
        if self.request.options.overwrite:
            self.sink.clear()
            self.files.metrics.unlink(missing_ok=True)
        self.manifest.save(self.files.manifest)

    def _keep_history(self) -> None:
        with suppress(OutputError):  # a full disk ends the run where a rollout cannot be written
            self._with_history().save(self.files.manifest)

    def _with_history(self) -> Manifest:
        runs = with_run(self.manifest.history, self._watch.history()) if self._watch else self.manifest.history
        return self.manifest.model_copy(update={"history": runs})

    def _finish(self, status: str, elapsed_s: float) -> None:
        changes = ended(self.manifest, status, self.tally, self.metrics, self.spent, self.done.rows, elapsed_s)
        self._with_history().model_copy(update=changes).save(self.files.manifest)
