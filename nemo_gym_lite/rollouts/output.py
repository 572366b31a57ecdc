"""An output that is open: its files locked, what they hold counted, and every new line taken in."""

import time
from collections.abc import Callable

from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.budget import Spent
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.history import with_run
from nemo_gym_lite.rollouts.line import Line
from nemo_gym_lite.rollouts.manifest import Manifest
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.progress import Tally, say
from nemo_gym_lite.rollouts.record import ended
from nemo_gym_lite.rollouts.resume import MAX_ROLLOUT_ATTEMPTS, Done, scan
from nemo_gym_lite.rollouts.sink import Sink

_READ_IN_SILENCE_MB = 200.0
"""A larger output takes seconds to read, and a user wants to know what the command does."""


class Output:
    """Holds the files of a run.

    Opening takes the lock, repairs a torn tail and reads what is already there; nothing is deleted and no manifest
    written before `begin`.

    Args:
        files: The files.
        manifest: What this run will write of itself.
        total: Rollouts that the run asks for.
        spent: Adds up what the output costs, from here on with everything that it holds already.
        overwrite: Whether what is there goes.
        max_attempts: Failures after which a rollout is given up, counted over all runs.
        metrics: Takes in every scored row; the usual aggregates if not given.

    Attributes:
        done: What was there when the run began.
        tally: What happened to the rollouts.

    Raises:
        OutputError: The output is in use, or not ours.
    """

    def __init__(
        self,
        files: OutputFiles,
        manifest: Manifest,
        total: int,
        spent: Spent,
        *,
        overwrite: bool = False,
        max_attempts: int = MAX_ROLLOUT_ATTEMPTS,
        metrics: RunMetrics | None = None,
    ) -> None:
        self.files, self.manifest, self.spent = files, manifest, spent
        self.metrics = metrics or RunMetrics()
        self._overwrite = overwrite
        self._began_s = time.monotonic()
        self.sink = Sink(files)
        try:
            size_mb = files.rollouts.stat().st_size / 1e6
            if size_mb > _READ_IN_SILENCE_MB and not overwrite:
                say(f"reading the rollouts that are there already ({size_mb:,.0f} MB)")
            self.done = Done(max_attempts) if overwrite else scan(files, self._take_in, max_attempts, spent.add)
        except BaseException:  # whatever it was, the lock must not stay
            self.sink.close()
            raise
        self.tally = Tally(total, mean_reward=self.metrics.mean_reward(), cost_usd=spent.cost_usd)

    @property
    def elapsed_s(self) -> float:
        """Seconds since `begin`."""
        return time.monotonic() - self._began_s

    def begin(self) -> None:
        """Write the manifest; with `overwrite`, delete first what is there.

        Raises:
            OutputError: The files cannot be written.
        """
        self._began_s = time.monotonic()
        if self._overwrite:
            self.sink.clear()
            self.files.metrics.unlink(missing_ok=True)
        self.manifest.save(self.files.manifest)

    def observe(self, line: Line) -> None:
        """Count a line that was written."""
        if line.failure_class is None:
            self.metrics.add(line.facts)
            self.tally.mean_reward = self.metrics.mean_reward()
        self.tally.count_tokens(line.facts.get("usage"))
        self.spent.add(line.facts)
        self.tally.cost_usd = self.spent.cost_usd

    def keep(self, history: Json) -> None:
        """Save the manifest with the history of a run that goes on."""
        self._with(history).save(self.files.manifest)

    def finish(self, status: str, elapsed_s: float, history: Callable[[], Json]) -> None:
        """Save the manifest of a run that has ended: finished, interrupted or failed."""
        changes = ended(self.manifest, status, self.tally, self.metrics, self.spent, self.done.rows, elapsed_s)
        self._with(history()).model_copy(update=changes).save(self.files.manifest)

    def close(self) -> None:
        """Release the files."""
        self.sink.close()

    def _with(self, history: Json) -> Manifest:
        return self.manifest.model_copy(update={"history": with_run(self.manifest.history, history)})

    def _take_in(self, row: Json) -> None:
        self.metrics.add(row)
        self.spent.add(row)
