"""One run from its options to its files: what is owed is played, what was played is summed up."""

import time
from contextlib import suppress
from dataclasses import dataclass

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import GymError, OutputError
from nemo_gym_lite.rollouts.collector import Collector
from nemo_gym_lite.rollouts.conduct import beside
from nemo_gym_lite.rollouts.connect import Clients
from nemo_gym_lite.rollouts.crew import Crew
from nemo_gym_lite.rollouts.limits import most_in_flight
from nemo_gym_lite.rollouts.line import Line
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.owed import owed_specs
from nemo_gym_lite.rollouts.own_metrics import own_metrics
from nemo_gym_lite.rollouts.progress import Progress, Tally, say
from nemo_gym_lite.rollouts.record import ended, open_manifest
from nemo_gym_lite.rollouts.report import write_metrics
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.resume import Done, scan
from nemo_gym_lite.rollouts.sink import Sink
from nemo_gym_lite.rollouts.ticker import Ticker


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

    Raises:
        ConfigError: The output was begun with other settings.
        OutputError: The output is in use, or not ours.
    """

    def __init__(self, request: Request, asked: Json, config: Json) -> None:
        self.request = request
        self.files = request.files
        options = request.options
        self.manifest = open_manifest(request, asked, config)
        self.sink = Sink(self.files)
        try:
            self.metrics = RunMetrics()
            attempts = options.max_rollout_attempts
            self.done = Done(attempts) if options.overwrite else scan(self.files, self.metrics.add, attempts)
        except BaseException:  # whatever it was, the lock must not stay
            self.sink.close()
            raise
        self.tally = Tally(total=request.rollouts, mean_reward=self.metrics.mean_reward())
        self._collector: Collector | None = None
        self._budget_spent: str | None = None

    def stop(self) -> None:
        """End early; see `Collector.stop`."""
        if self._collector is not None:
            self._collector.stop()

    async def run(self, crew: Crew, clients: Clients, ticker: Ticker) -> Outcome:
        """Play what is owed, then write metrics and manifest.

        Args:
            crew: Who plays.
            clients: The environments, for their own metrics.
            ticker: Calls what goes on beside the rollouts.

        Raises:
            OutputError: A file could not be written; what was written before is kept.
        """
        began_s = time.monotonic()
        self._begin()
        self._collector = collector = Collector(
            owed_specs(self.request, self.done, self.manifest, self.tally),
            crew.play,
            self.sink,
            self.tally,
            limit=most_in_flight(self.request.options.num_samples_in_parallel, clients.endpoints, self.tally.total),
            observe=self._observe,
            drain_s=self.request.options.drain_s,
            attempts=self.done.attempts,
        )
        try:
            await self._play(collector, ticker)
            elapsed_s = time.monotonic() - began_s
            key_metrics = {} if self.request.options.disable_aggregation else await self._aggregate(clients)
        except GymError:
            with suppress(OutputError):  # on a full disk the manifest fails too; the first error is the one to tell
                self._finish("failed", time.monotonic() - began_s)
            raise
        interrupted = collector.stopped_early
        self._finish("interrupted" if interrupted else "finished", elapsed_s)
        return Outcome(self.tally, interrupted, key_metrics, elapsed_s, self._budget_spent)

    def close(self) -> None:
        """Release the output."""
        self.sink.close()

    async def _play(self, collector: Collector, ticker: Ticker) -> None:
        progress = Progress(self.tally)
        ticker.every(0.25, progress.show)
        ticker.every(1.0, self.sink.sync_aside)
        try:
            await beside(collector.run(), [ticker.run()])
        finally:
            progress.close()

    def _observe(self, line: Line) -> None:
        if line.failure_class is None:
            self.metrics.add(line.facts)
            self.tally.mean_reward = self.metrics.mean_reward()

    async def _aggregate(self, clients: Clients) -> dict[str, Json]:
        own = {}
        for name, agent in self.metrics.agents.items():
            try:
                own[name] = await own_metrics(self.files.rollouts, name, agent.count, clients)
            except Exception as error:  # an environment's metrics are an extra: its bug must not cost the run's
                say(f"{name}: the environment's own metrics failed, ours are written: {error!r}")
        return write_metrics(self.files, self.metrics, own)

    def _begin(self) -> None:
        if self.request.options.overwrite:
            self.sink.clear()
            self.files.metrics.unlink(missing_ok=True)
        self.manifest.save(self.files.manifest)

    def _finish(self, status: str, elapsed_s: float) -> None:
        changes = ended(self.manifest, status, self.tally, self.metrics, self.done.rows, elapsed_s)
        self.manifest = self.manifest.model_copy(update=changes)
        self.manifest.save(self.files.manifest)
