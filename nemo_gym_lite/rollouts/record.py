"""Keeps the manifest of an output: compares what is asked with what it was begun with, and notes how a run ended."""

import math
import os
import resource

from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.budget import Spent
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.manifest import InputEntry, Manifest, load_manifest, now, refuse_changes, versions
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.progress import Tally, say
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.verify_options import VerifyOptions


def open_manifest(request: Request, asked: Json, config: Json) -> Manifest:
    """The manifest that a run will write; see `open_manifest_of`."""
    options = request.options
    entry = InputEntry(
        path=str(request.input.resolve()),
        digest=request.summary.digest,
        agent_name=options.agent_name,
        limit=options.limit,
        num_repeats=options.num_repeats,
        tasks=request.summary.tasks,
    )
    return open_manifest_of(request.files, entry, options, asked, config)


def open_manifest_of(
    files: OutputFiles, entry: InputEntry, options: CollectOptions | VerifyOptions, asked: Json, config: Json
) -> Manifest:
    """The manifest that will be written; nothing is written yet. `asked` is what decides how lines come out, flat, and
    `config` the resolved configuration, secrets masked.

    Raises:
        ConfigError: The output was begun with other settings.
    """
    before = None if options.overwrite else load_manifest(files.manifest)
    if has_rows(files) and not options.overwrite:
        if before is None:
            say(f"warning: {files.manifest} is missing or torn: were these rollouts begun with the same settings?")
        elif not options.accept_changes:
            refuse_changes(before.asked, asked, files.rollouts)
    kept = before if has_rows(files) else None
    return Manifest(
        begun=kept.begun if kept else now(),
        asked=asked,
        inputs=(kept.with_input(entry) if kept else [entry]),
        history=kept.history if kept else [],
        versions=versions(),
        options=options.model_dump(mode="json"),
        config=config,
    )


def has_rows(files: OutputFiles) -> bool:
    """Whether the output holds anything."""
    return files.rollouts.exists() and files.rollouts.stat().st_size > 0


def ended(
    manifest: Manifest, status: str, tally: Tally, metrics: RunMetrics, spent: Spent, rows_before: int, elapsed_s: float
) -> Json:
    """What the manifest says of a run that ended, as changes to it."""
    inputs = manifest.inputs
    if status == "finished":
        inputs = [*inputs[:-1], inputs[-1].model_copy(update={"finished": True})]
    played = tally.delivered + tally.failed
    return {
        "status": status,
        "ended": now(),
        "inputs": inputs,
        "counts": {
            "asked": tally.total,
            "kept": tally.kept,
            "delivered": tally.delivered,
            "failed": tally.failed,
            "given_up": tally.given_up,
            "failure_classes": tally.failure_classes,
            "rows_in_output": rows_before + tally.delivered,
            "max_in_flight": tally.max_in_flight,
        },
        "timings": {
            "elapsed_s": round(elapsed_s, 3),
            "rollouts_per_s": round(played / max(elapsed_s, 1e-9), 3),
            **_durations(tally, played),
            "cpu_s": round(sum(os.times()[:4]), 3),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        },
        "tokens": {name: metrics.total(name) for name in ("input_tokens", "output_tokens", "total_tokens")},
        "spent": spent.as_json(),
    }


def _durations(tally: Tally, played: int) -> Json:
    """Mean and standard deviation of the seconds that a rollout took, for `ng_estimate_cost`."""
    if not played:
        return {}
    mean_s = tally.played_s / played
    variance = max(0.0, tally.played_square_s / played - mean_s * mean_s)
    return {"rollout_s_mean": round(mean_s, 4), "rollout_s_std": round(math.sqrt(variance), 4)}
