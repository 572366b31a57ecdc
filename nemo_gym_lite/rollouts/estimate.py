"""Finds out what a whole input will cost: plays a few of its rows as a run would, or reads what a run has played."""

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt

from nemo_gym_lite.config.compose import Composed
from nemo_gym_lite.errors import ConfigError, GymError
from nemo_gym_lite.rollouts.account import models_asked_for
from nemo_gym_lite.rollouts.budget import Spent
from nemo_gym_lite.rollouts.files import OutputFiles, read_rows
from nemo_gym_lite.rollouts.manifest import load_manifest
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.prices import read_prices
from nemo_gym_lite.rollouts.projection import Played, Projection, projected
from nemo_gym_lite.rollouts.request import Request, make_request
from nemo_gym_lite.rollouts.run import run

FIGURES = ("input_tokens", "cached_tokens", "output_tokens", "cost_usd")

_KEPT = Field(description="keep the rollouts that are played there, where a run finds them done; else they are deleted")


class EstimateOptions(CollectOptions):
    """Play a few rows, or read a file of rollouts, and project tokens, cost and time for the whole input."""

    output_jsonl_fpath: Annotated[Path | None, _KEPT] = None  # type: ignore[assignment]  # which a run must have
    rollouts_jsonl_fpath: Annotated[Path | None, Field(description="read the rollouts of this file and play none")] = (
        None
    )
    num_rows: Annotated[PositiveInt, Field(description="input rows to play, once each, drawn at random")] = 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a whole input will take.

    Attributes:
        rollouts: Rollouts that the input asks for.
        played: Those that the figures come from.
        failed: Those that failed and are in no figure.
        figures: By name of `FIGURES`; a figure that nobody knows is left out.
        unpriced: Models without a price.
        seconds: Of all rollouts with `in_flight` of them at once; None if that is not known.
        in_flight: Rollouts at once.
    """

    rollouts: int
    played: int
    failed: int
    figures: dict[str, Projection]
    unpriced: set[str]
    seconds: Projection | None
    in_flight: int


async def estimate(composed: Composed[EstimateOptions]) -> Estimate:
    """Play or read, and project.

    Raises:
        ConfigError: An option, the input or the prices are wrong.
        GymError: No rollout came out of it.
    """
    options = composed.options
    with tempfile.TemporaryDirectory(prefix="ng_estimate_cost_") as name:
        folder = Path(name)
        whole = make_request(_of_run(options, folder / "whole.jsonl"))
        files = OutputFiles(options.rollouts_jsonl_fpath or options.output_jsonl_fpath or folder / "played.jsonl")
        if options.rollouts_jsonl_fpath is None:
            tasks = folder / "drawn.jsonl"
            tasks.write_bytes(b"".join(draw(whole, options.num_rows)))
            changes = {"input_jsonl_fpath": tasks, "limit": None, "num_repeats": 1, "num_workers": 1}
            few = make_request(_of_run(options, files.rollouts).model_copy(update=changes))
            await run(composed, few)  # type: ignore[arg-type]  # of the options it reads the request's
        elif not files.rollouts.is_file():
            raise ConfigError(f"rollouts_jsonl_fpath: no such file: {files.rollouts}")
        return read_estimate(
            files, whole, Spent(read_prices(options.prices), models_asked_for(options, composed.servers))
        )


def draw(request: Request, rows: int) -> Iterator[bytes]:
    """Lines of the input, so many, each as likely as any other; the same ones every time."""
    tasks = request.summary.tasks
    wanted = sorted(random.Random(0).sample(range(tasks), min(rows, tasks)))
    with request.input.open("rb") as file:
        lines = (line for line in file if line.strip())
        at = 0
        for number in wanted:
            line = next(islice(lines, number - at, None))
            at = number + 1
            yield line if line.endswith(b"\n") else line + b"\n"


def read_estimate(files: OutputFiles, whole: Request, spent: Spent) -> Estimate:
    """Project what an output holds to the whole input, at the prices that `spent` knows.

    Raises:
        GymError: The output holds no rollout.
    """
    played = Played()
    for row in filter(None, read_rows(files.rollouts) if files.rollouts.exists() else ()):
        usage = row.get("usage") or {}
        spent.add(row)
        cached = (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
        cost_usd = (spent.cost_of(row) or 0.0) if usage else 0.0
        counts = (usage.get("input_tokens") or 0, cached, usage.get("output_tokens") or 0, cost_usd)
        played.add(row, dict(zip(FIGURES, counts, strict=True)))
    if not played.rollouts:
        raise GymError(
            f"{files.rollouts} holds no rollout to estimate from", "see what failed, above or in its sidecar"
        )
    failed = sum(1 for _ in read_rows(files.failures)) if files.failures.exists() else 0
    figures = {name: played.project(name, whole.rollouts) for name in FIGURES}
    if spent.cost_usd is None or spent.unpriced:
        del figures["cost_usd"]
    seconds, in_flight = _seconds(files, whole)
    return Estimate(whole.rollouts, played.rollouts, failed, figures, spent.unpriced, seconds, in_flight)


def _seconds(files: OutputFiles, whole: Request) -> tuple[Projection | None, int]:
    manifest = load_manifest(files.manifest)
    if manifest is None or not manifest.timings.get("rollout_s_mean"):
        return None, 0
    asked = whole.options.num_samples_in_parallel
    in_flight = manifest.counts["max_in_flight"] if asked == "auto" else min(asked, whole.rollouts)
    count = manifest.counts["delivered"] + manifest.counts["failed"]
    timings = manifest.timings
    all_s = projected(timings["rollout_s_mean"], timings["rollout_s_std"], count, whole.rollouts, count)
    return all_s.scaled(1 / max(1, in_flight)), in_flight


def _of_run(options: EstimateOptions, output: Path) -> CollectOptions:
    """The options of a run with this output."""
    own = {name: getattr(options, name) for name in CollectOptions.model_fields}
    return CollectOptions.model_construct(**own | {"output_jsonl_fpath": output, "disable_aggregation": True})
