"""One run from its options to its files: what is owed is played, what was played is summed up."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from prometheus_client.core import Metric

from nemo_gym_lite.bottleneck.verdict import Verdict
from nemo_gym_lite.bottleneck.witness import PATIENCE
from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.budget import Budget, Spent
from nemo_gym_lite.rollouts.connect import Clients
from nemo_gym_lite.rollouts.crew import Crew
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.output import Output
from nemo_gym_lite.rollouts.owed import owed_specs
from nemo_gym_lite.rollouts.own_metrics import write_all_metrics
from nemo_gym_lite.rollouts.playing import Playing, PlaySettings
from nemo_gym_lite.rollouts.progress import Tally, say
from nemo_gym_lite.rollouts.record import open_manifest
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.routed_model import RoutedModelClient
from nemo_gym_lite.routing.warm_up import forget_calls, warm_up


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        tally: What happened to the rollouts.
        interrupted: Whether it was stopped before everything was played.
        key_metrics: By agent, the flat averages.
        elapsed_s: Seconds from the first spec to the last line.
        budget: Which budget stopped it, in words; None if none did.
        held_back: What held throughput back, None if the run was too short to tell.
    """

    tally: Tally
    interrupted: bool
    key_metrics: dict[str, Json]
    elapsed_s: float
    budget: str | None = None
    held_back: Verdict | None = None


class Collection:
    """Holds the output of a request open while it is worked on.

    Args:
        request: The run.
        asked: What decides how rollouts come out, flat.
        config: The resolved configuration, secrets masked, for the manifest.
        spent: Adds up what the output costs.

    Attributes:
        output: The files.

    Raises:
        ConfigError: The output was begun with other settings.
        OutputError: The output is in use, or not ours.
    """

    def __init__(self, request: Request, asked: Json, config: Json, spent: Spent) -> None:
        self.request = request
        self.output = Output(
            request.files,
            open_manifest(request, asked, config),
            request.rollouts,
            spent,
            overwrite=request.options.overwrite,
            max_attempts=request.options.max_rollout_attempts,
            metrics=RunMetrics(request.tasks_by_agent),
        )
        self._playing: Playing | None = None
        self._owes: bool | None = None
        self._warming: asyncio.Task[list[str]] | None = None
        self._stopped = False

    def owes(self) -> bool:
        """Whether anything is left to play, for which an engine would be loaded."""
        if self._owes is None:
            done, request = self.output.done, self.request
            is_certain = done.rows < request.rollouts and not done.has_failures  # else what is missing may be given up
            scratch = Tally(request.rollouts)
            self._owes = is_certain or any(owed_specs(request, done, self.output.manifest, scratch, quietly=True))
        return self._owes

    def stop(self) -> None:
        """End early; see `Collector.stop`."""
        self._stopped = True
        if self._warming is not None:
            self._warming.cancel()
        if self._playing is not None:
            self._playing.stop()

    def tell(self) -> None:
        """Print what the run does now: endpoints, limit, the oldest rollouts."""
        say("rollouts have not begun" if self._playing is None else self._playing.table())

    def families(self) -> Iterable[Metric]:
        """The run as Prometheus metrics."""
        return () if self._playing is None else self._playing.families()

    async def run(self, crew: Crew, clients: Clients, ticker: Ticker, http: aiohttp.ClientSession) -> Outcome:
        """Warm up, play what is owed, then write metrics and manifest.

        Args:
            crew: Who plays.
            clients: The environments, for their own metrics.
            ticker: Calls what goes on beside the rollouts.
            http: This process's HTTP session, to ask engines how they do.

        Raises:
            OutputError: A file could not be written; what was written before is kept.
        """
        output, options = self.output, self.request.options
        if options.warmup_requests and self.owes():
            await self._warm_up(clients)
        output.begin()
        self._playing = playing = self._prepare(crew, clients.endpoints, ticker)
        if self._stopped:
            playing.stop()

        async def sum_up() -> dict[str, Json]:
            await crew.close()  # its memory goes before the metrics are computed, and its CPU can be counted
            return {} if options.disable_aggregation else await write_all_metrics(output.files, output.metrics, clients)

        ended = await playing.run_to_the_manifest(http, sum_up)
        return Outcome(
            output.tally, ended.interrupted, ended.key_metrics, ended.elapsed_s, playing.used_up, ended.held_back
        )

    def close(self) -> None:
        """Release the output."""
        self.output.close()

    async def _warm_up(self, clients: Clients) -> None:
        """What it asks is in no row, budget or count."""
        models, asked = list(clients.models.values()), self.request.options.responses_create_params
        if not models:
            say("warning: nothing is warmed up, as every agent plays in a server of its own")
            return
        named = {"model": asked["model"]} if "model" in asked else {}
        self._warming = asyncio.create_task(warm_up(models, self.request.options.warmup_requests, named))
        try:
            say("\n".join(await self._warming))
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        for model in models:
            if isinstance(model, RoutedModelClient):
                forget_calls(model.router)

    def _prepare(self, crew: Crew, endpoints: int, ticker: Ticker) -> Playing:
        output, options = self.output, self.request.options
        return Playing(
            output,
            owed_specs(self.request, output.done, output.manifest, output.tally),
            crew,
            PlaySettings(
                options.num_samples_in_parallel,
                options.num_workers,
                options.drain_s,
                options.watchdog_s,
                patience=PATIENCE,
            ),
            budget=Budget(
                options.max_cost_usd,
                options.max_total_tokens,
                options.max_wall_s,
                now_s=time.monotonic(),
                spent=output.spent,
            ),
            endpoints=endpoints,
            ticker=ticker,
        )
