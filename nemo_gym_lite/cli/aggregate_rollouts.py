"""`ng_aggregate_rollouts`: makes one output of the outputs of several machines."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from nemo_gym_lite.cli.common import EXIT_OK, EXIT_SOME_FAILED, command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.aggregation import Aggregated, aggregate
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.progress import say


class AggregateOptions(BaseModel, frozen=True, extra="forbid"):
    """Put outputs together, sorted by task and rollout, and compute the metrics over all of them."""

    input_glob: Annotated[
        str,
        Field(description="patterns of the outputs' paths, separated by commas, for instance results/x_shard_*.jsonl"),
    ]
    output_jsonl_fpath: Annotated[Path, Field(description="JSONL file that all rollouts are written to")]
    overwrite: Annotated[bool, Field(description="replace an output that has rollouts")] = False


@command("ng_aggregate_rollouts", AggregateOptions, outlives_threads=True)
def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 all there, 2 wrong usage, 3 something is missing or failed."""
    options = compose(argv, AggregateOptions, needs_servers=False).options
    output = options.output_jsonl_fpath
    if output.suffix != ".jsonl":
        raise ConfigError(f"output_jsonl_fpath: {output} does not end in .jsonl")
    if output.exists() and output.stat().st_size and not options.overwrite:
        raise ConfigError(
            f"output_jsonl_fpath: {output} has rollouts already",
            "name another file, or replace it with +overwrite=true",
        )
    return _report(aggregate(options.input_glob, output), OutputFiles(output))


def _report(made: Aggregated, files: OutputFiles) -> int:
    outputs = "output" if made.parts == 1 else "outputs"
    say(f"{made.rows} rollouts of {made.parts} {outputs}: {files.rollouts}")
    for agent, metrics in made.key_metrics.items():
        numbers = {
            name.removeprefix("mean/"): value for name, value in metrics.items() if isinstance(value, int | float)
        }
        say(f"{agent}: {', '.join(f'{name}={value:.4g}' for name, value in numbers.items())}")
    say(f"metrics:  {files.metrics}")
    if made.failures:
        say(f"{made.failures} failed attempts, {made.owed} rollouts without a reward: {files.failures}")
    for gap in made.gaps:
        say(f"incomplete: {gap}")
    return EXIT_SOME_FAILED if made.gaps or made.owed else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
