"""`ng_make_tasks`: writes seeded tasks of the datasets of the library reasoning-gym."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, field_validator

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import replacing
from nemo_gym_lite.rollouts.progress import say
from resources_servers.reasoning_gym.tasks import INSTRUCTION, TaskMaker


class MakeTasksOptions(BaseModel, frozen=True, extra="forbid"):
    """Write tasks that the environment reasoning_gym scores: the same seed, the same tasks, no two alike."""

    dataset: Annotated[
        dict[str, PositiveFloat],
        Field(min_length=1, description="one dataset, a list [leg_counting,gcd], or shares {leg_counting: 2, gcd: 1}"),
    ]
    output_jsonl_fpath: Annotated[Path, Field(description="JSONL file that the tasks are written to")]
    size: Annotated[PositiveInt, Field(description="number of tasks")] = 100
    seed: Annotated[int, Field(ge=0, description="another seed, other tasks")] = 1
    settings: Annotated[
        dict[str, dict[str, Any]],
        Field(description="datasets' own settings, for instance +settings.leg_counting.max_animals=5"),
    ] = {}
    instruction: Annotated[str | None, Field(description="what prompts say after the question; null: nothing")] = (
        INSTRUCTION
    )
    overwrite: Annotated[bool, Field(description="replace a file that is there")] = False

    @field_validator("dataset", mode="before")
    @classmethod
    def _weigh(cls, given: Any) -> Any:
        names = [given] if isinstance(given, str) else given
        return dict.fromkeys(names, 1.0) if isinstance(names, list) else names


@command("ng_make_tasks", MakeTasksOptions)
def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 written, 2 wrong usage."""
    if sys.flags.hash_randomization:  # some datasets walk through sets of words, which would differ from run to run
        again = [sys.executable, "-P", "-m", "nemo_gym_lite.cli.make_tasks", *argv]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606 - this very command
    options = compose(argv, MakeTasksOptions, needs_servers=False).options
    path = options.output_jsonl_fpath
    if path.exists() and not options.overwrite:
        raise ConfigError(f"output_jsonl_fpath: {path} exists", "name another file, or replace it with +overwrite=true")
    if unused := set(options.settings) - set(options.dataset):
        raise ConfigError(f"settings: {', '.join(sorted(unused))} is none of the datasets asked for")
    maker = TaskMaker(options.dataset, options.seed, options.settings, options.instruction or "")
    _write(path, maker.rows(options.size))
    say(f"{maker.made.total()} tasks: {path}")
    for name in sorted(maker.short):
        say(f"{name} has no more than {maker.made[name]} that differ")
    return EXIT_OK


def _write(path: Path, rows: Iterable[Json]) -> None:
    with replacing(path) as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    sys.exit(main())
