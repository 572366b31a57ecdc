"""One run from its options to its files: what is owed is played, what was played is summed up."""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import GymError, OutputError
from nemo_gym_lite.rollouts import manifest as manifests
from nemo_gym_lite.rollouts.collector import Collector, CollectorSettings
from nemo_gym_lite.rollouts.connect import Clients
from nemo_gym_lite.rollouts.manifest import InputEntry, Manifest
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.overtaken import overtaken_specs
from nemo_gym_lite.rollouts.own_metrics import own_metrics
from nemo_gym_lite.rollouts.plan import Spec, plan
from nemo_gym_lite.rollouts.progress import Progress, Tally, say
from nemo_gym_lite.rollouts.report import write_metrics
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.resume import Done, scan
from nemo_gym_lite.rollouts.sink import Sink
from nemo_gym_lite.rollouts.source import read_tasks

_FILES_PER_ROLLOUT = 2
"""A connection to the engine, and one to the environment."""

_OTHER_FILES = 64
"""Open files that a run needs besides, imports of environments included."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        tally: What happened to the rollouts.
        interrupted: Whether it was stopped before everything was played.
        key_metrics: By agent, the flat averages.
        elapsed_s: Seconds from the first spec to the last line.
    """

    tally: Tally
    interrupted: bool
    key_metrics: dict[str, Json]
    elapsed_s: float


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
        self._overwrites = request.options.overwrite
        before = None if self._overwrites else manifests.load_manifest(self.files.manifest)
        if before is None and self._has_rows() and not self._overwrites:
            say(f"warning: {self.files.manifest} is missing or torn: were these rollouts begun with the same settings?")
        if before is not None and self._has_rows() and not request.options.accept_changes:
            manifests.refuse_changes(before.asked, asked, self.files.rollouts)
        self.sink = Sink(self.files)
        try:
            self.metrics = RunMetrics()
            attempts = request.options.max_rollout_attempts
            self.done = Done(attempts) if self._overwrites else scan(self.files, self.metrics.add, attempts)
        except BaseException:  # whatever it was, the lock must not stay
            self.sink.close()
            raise
        self.manifest = self._made_from(before, asked, config)
        self.tally = Tally(total=request.rollouts, mean_reward=self.metrics.mean_reward())
        self._collector: Collector | None = None

    def stop(self) -> None:
        """End early; see `Collector.stop`."""
        if self._collector is not None:
            self._collector.stop()

    async def run(self, clients: Clients) -> Outcome:
        """Play what is owed, then write metrics and manifest.

        Args:
            clients: The agents.

        Raises:
            OutputError: A file could not be written; what was written before is kept.
        """
        options = self.request.options
        began = time.monotonic()
        self._begin()
        specs = self._owed()
        progress = Progress(self.tally)
        self._collector = Collector(
            specs,
            clients.agents,
            self.sink,
            self.tally,
            self._observe,
            CollectorSettings(self._concurrency(clients), options.deadlines.episode_s, options.drain_s),
            self.done.attempts,
        )
        try:
            try:
                await self._collector.run(progress)
            finally:
                progress.close()
            elapsed_s = time.monotonic() - began
            interrupted = self._collector.stopped_early
            key_metrics = {} if options.disable_aggregation else await self._aggregate(clients)
        except GymError:
            with suppress(OutputError):  # on a full disk the manifest fails too; the first error is the one to tell
                self._finish("failed", time.monotonic() - began)
            raise
        self._finish("interrupted" if interrupted else "finished", elapsed_s)
        return Outcome(self.tally, interrupted, key_metrics, elapsed_s)

    def close(self) -> None:
        """Release the output."""
        self.sink.close()

    def _has_rows(self) -> bool:
        return self.files.rollouts.exists() and self.files.rollouts.stat().st_size > 0

    def _concurrency(self, clients: Clients) -> int:
        asked = self.request.options.num_samples_in_parallel
        wanted = min(100 * clients.endpoints if asked == "auto" else asked, max(1, self.tally.total))
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = max(1, (files - _OTHER_FILES) // _FILES_PER_ROLLOUT)
        if files == resource.RLIM_INFINITY or wanted <= room:
            return wanted
        say(f"warning: {room} rollouts in flight, not {wanted}: this process may open {files} files, see `ulimit -Hn`")
        return room

    def _observe(self, row: Json) -> None:
        self.metrics.add(row)
        self.tally.mean_reward = self.metrics.mean_reward()

    def _owed(self) -> Iterator[Spec]:
        """What the input still owes, after what an earlier, cut off run on another input had in flight."""
        late = overtaken_specs(self.manifest, self.request.settings, self.request.summary.digest, self.done)
        if late:
            say(f"first finishing {len(late)} rollouts of an earlier input that were in flight when it was cut off")
            self.tally.total += len(late)
        played = {spec.identity for spec in late}
        tasks = read_tasks(self.request.input, self.request.options.limit)
        return chain(late, self._of_input(plan(tasks, self.request.settings, self.request.summary.tasks), played))

    def _of_input(self, specs: Iterator[Spec], played: set[int]) -> Iterator[Spec]:
        for spec in specs:
            if self.done.delivered(spec) or spec.identity in played:
                self.tally.kept += 1
            elif self.done.gave_up(spec):
                self.tally.given_up += 1
            else:
                yield spec

    async def _aggregate(self, clients: Clients) -> dict[str, Json]:
        own = {}
        for name, agent in self.metrics.agents.items():
            try:
                own[name] = await own_metrics(self.files.rollouts, name, agent.count, clients)
            except Exception as error:  # an environment's metrics are an extra: its bug must not cost the run's
                say(f"{name}: the environment's own metrics failed, ours are written: {error!r}")
        return write_metrics(self.files, self.metrics, own)

    def _made_from(self, before: Manifest | None, asked: Json, config: Json) -> Manifest:
        options = self.request.options
        entry = InputEntry(
            path=str(self.request.input.resolve()),
            digest=self.request.summary.digest,
            agent_name=options.agent_name,
            limit=options.limit,
            num_repeats=options.num_repeats,
            tasks=self.request.summary.tasks,
        )
        kept = before if before is not None and self._has_rows() else None
        return Manifest(
            begun=kept.begun if kept else manifests.now(),
            asked=asked,
            inputs=(kept.with_input(entry) if kept else [entry]),
            versions=manifests.versions(),
            options=options.model_dump(mode="json"),
            config=config,
        )

    def _begin(self) -> None:
        if self._overwrites:
            self.sink.clear()
            self.files.metrics.unlink(missing_ok=True)
        self.manifest.save(self.files.manifest)

    def _finish(self, status: str, elapsed_s: float) -> None:
        tally = self.tally
        inputs = self.manifest.inputs
        if status == "finished":
            inputs = [*inputs[:-1], inputs[-1].model_copy(update={"finished": True})]
        played = tally.delivered + tally.failed
        self.manifest = self.manifest.model_copy(
            update={
                "status": status,
                "ended": manifests.now(),
                "inputs": inputs,
                "counts": {
                    "asked": tally.total,
                    "kept": tally.kept,
                    "delivered": tally.delivered,
                    "failed": tally.failed,
                    "given_up": tally.given_up,
                    "failure_classes": tally.failure_classes,
                    "rows_in_output": self.done.rows + tally.delivered,
                    "max_in_flight": tally.max_in_flight,
                },
                "timings": {
                    "elapsed_s": round(elapsed_s, 3),
                    "rollouts_per_s": round(played / max(elapsed_s, 1e-9), 3),
                    "cpu_s": round(sum(os.times()[:4]), 3),
                    "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
                },
                "tokens": {
                    name: self.metrics.total(name) for name in ("input_tokens", "output_tokens", "total_tokens")
                },
            }
        )
        self.manifest.save(self.files.manifest)
