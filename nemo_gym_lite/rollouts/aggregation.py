"""Makes one output of several, as if one machine had played them all: rollouts, failures, metrics and manifest."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.files import OutputFiles, replacing
from nemo_gym_lite.rollouts.merge import RowIndex, join_lines
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.own_metrics import write_all_metrics
from nemo_gym_lite.rollouts.parts import Part, find_parts, gaps, merged_manifest, refuse_mixtures
from nemo_gym_lite.rollouts.progress import say


@dataclass(frozen=True, slots=True)
class Aggregated:
    """What an aggregation made.

    Attributes:
        parts: Outputs that were put together.
        rows: Rollouts in the new output.
        failures: Lines of its sidecar.
        owed: Rollouts that failed for the time being or for good.
        gaps: What is missing to the whole, a line each.
        key_metrics: By agent, the flat averages.
    """

    parts: int
    rows: int
    failures: int
    owed: int
    gaps: list[str]
    key_metrics: dict[str, Json]


def aggregate(patterns: str, output: Path) -> Aggregated:
    """Put outputs together, which stay as they are; what `output` holds is replaced, one whole file at a time.

    Raises:
        ConfigError: Nothing matches, a rollout is there twice, or the outputs were made with different settings.
        OutputError: A file was written by another program, or cannot be written.
    """
    files = OutputFiles(output)
    parts = find_parts(patterns, output)
    refuse_mixtures(parts)
    index, metrics = RowIndex(), RunMetrics()
    for part in parts:
        if part.files.rollouts.exists():
            say(f"reading {part.files.rollouts}")
            index.read(part.files.rollouts, metrics.add)
    lacking = gaps(parts)
    if index.malformed:
        lacking.append(f"lines that are no JSON were left out: {index.malformed}; their rollouts are owed")
    say(f"writing {output}")
    with replacing(files.rollouts) as target:
        index.write(target)
    failures = _merge_failures(parts, files)
    config = next((part.manifest.config for part in parts if part.manifest is not None), {})
    key_metrics = asyncio.run(write_all_metrics(files, metrics, config))
    counts = {"rows_in_output": len(index), "parts": len(parts)}
    tokens = {name: metrics.total(name) for name in ("input_tokens", "output_tokens", "total_tokens")}
    manifest = merged_manifest(parts, output, whole=not lacking, measured={"counts": counts, "tokens": tokens})
    owed = 0
    if manifest is not None:
        manifest.save(files.manifest)
        owed = manifest.counts.get("failed", 0) + manifest.counts.get("given_up", 0)
    return Aggregated(len(parts), len(index), failures, owed, lacking, key_metrics)


def _merge_failures(parts: list[Part], files: OutputFiles) -> int:
    sidecars = [part.files.failures for part in parts if part.files.failures.exists()]
    if not sidecars:
        files.failures.unlink(missing_ok=True)
        return 0
    with replacing(files.failures) as target:
        return join_lines(sidecars, target)
