"""Scores stored rollouts: those of a run that left its checks for later, of a sidecar, or scored ones once more.

It resumes as collection does, on the same output and with the same collector; who plays only verifies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp

from nemo_gym_lite.clients import Json, ResourcesClient
from nemo_gym_lite.episode import at_stage
from nemo_gym_lite.rollouts.budget import Budget, Spent
from nemo_gym_lite.rollouts.connect import Clients
from nemo_gym_lite.rollouts.crew import LocalCrew
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.manifest import InputEntry
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.output import Output
from nemo_gym_lite.rollouts.owed import still_owed
from nemo_gym_lite.rollouts.own_metrics import write_all_metrics
from nemo_gym_lite.rollouts.player import Player
from nemo_gym_lite.rollouts.playing import Playing, PlaySettings
from nemo_gym_lite.rollouts.progress import Tally, say
from nemo_gym_lite.rollouts.record import open_manifest_of
from nemo_gym_lite.rollouts.stored import OF_THE_PLAY, REWARD_BEFORE, Stored
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.rollouts.verify_options import VerifyOptions


class StoredAgent:
    """Plays a stored rollout: all that is left to do is its check.

    Args:
        resources: The environment.
    """

    def __init__(self, resources: ResourcesClient) -> None:
        self._resources = resources

    async def run(self, row: Json) -> Json:
        """The verdict over a row, which is the task as asked and its `response`."""
        asked = {name: value for name, value in row.items() if name not in (*OF_THE_PLAY, REWARD_BEFORE)}
        at_stage("verify")
        return await self._resources.open(uuid4().hex).verify(asked)

    async def close(self) -> None:
        """The environment belongs to whoever made it."""


class Rescored(RunMetrics):
    """Aggregates that also set rewards beside those that were stored.

    Attributes:
        up: Rollouts whose reward is higher now.
        down: Rollouts whose reward is lower now.
        equal: Rollouts whose reward is the same.
        before: Sum of the rewards that were stored.
        after: Sum of the same rollouts' rewards now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.up = self.down = self.equal = 0
        self.before = self.after = 0.0

    @property
    def rollouts(self) -> int:
        """Rollouts that had a reward before."""
        return self.up + self.down + self.equal

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a scored row in."""
        super().add(row)
        before, after = row.get(REWARD_BEFORE), row.get("reward")
        if isinstance(before, int | float) and isinstance(after, int | float):
            self.up += after > before
            self.down += after < before
            self.equal += after == before
            self.before += before
            self.after += after


@dataclass(frozen=True, slots=True)
class Verified:
    """How a verification ended.

    Attributes:
        tally: What happened to the rollouts.
        rescored: Rewards beside those that were stored, over the whole output.
        interrupted: Whether it was stopped before everything was scored.
        elapsed_s: Seconds from the first check to the last line.
    """

    tally: Tally
    rescored: Rescored
    interrupted: bool
    elapsed_s: float


class Verification:
    """Holds the output open while stored rollouts are scored into it; see `record.open_manifest_of`.

    Raises:
        ConfigError: The output was begun with other settings.
        OutputError: The output is in use, or not ours.
    """

    def __init__(self, options: VerifyOptions, stored: Stored, asked: Json, config: Json) -> None:
        self._options, self._stored, self._rescored = options, stored, Rescored()
        files = OutputFiles(options.output_jsonl_fpath)
        entry = InputEntry(
            path=str(stored.path.resolve()),
            digest=stored.digest,
            agent_name=None,
            limit=None,
            num_repeats=1,
            tasks=stored.rollouts,
        )
        self.output = Output(
            files,
            open_manifest_of(files, entry, options, asked, config),
            stored.rollouts,
            Spent(),
            overwrite=options.overwrite,
            max_attempts=options.max_rollout_attempts,
            metrics=self._rescored,
        )
        self._playing: Playing | None = None

    def stop(self) -> None:
        """End early; see `Collector.stop`."""
        if self._playing is not None:
            self._playing.stop()

    def tell(self) -> None:
        """Print what goes on now: the limit, the oldest checks."""
        say("checks have not begun" if self._playing is None else self._playing.table())

    async def run(self, clients: Clients, http: aiohttp.ClientSession) -> Verified:
        """Score what is owed, then write metrics and manifest.

        Raises:
            OutputError: A file could not be written; what was written before is kept.
        """
        output = self.output
        output.begin()
        self._playing = playing = self._prepare(clients)
        ended = await playing.run_to_the_manifest(
            http, lambda: write_all_metrics(output.files, output.metrics, clients)
        )
        return Verified(output.tally, self._rescored, ended.interrupted, ended.elapsed_s)

    def close(self) -> None:
        """Release the output."""
        self.output.close()

    def _prepare(self, clients: Clients) -> Playing:
        options, output, ticker = self._options, self.output, Ticker()
        agents = {name: StoredAgent(resources) for name, resources in clients.resources.items()}
        return Playing(
            output,
            still_owed(self._stored.specs(), output.done, output.tally),
            LocalCrew(Player(agents, options.deadlines.episode_s), {}, ticker),
            PlaySettings(options.concurrency, drain_s=options.drain_s, what="Scoring rollouts"),
            budget=Budget(None, None, None, spent=output.spent),
            endpoints=1,
            ticker=ticker,
        )
