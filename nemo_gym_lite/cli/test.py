"""`ng_test`: runs the tests of one environment, in which `nemo_gym` means this package."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

from pydantic import BaseModel, Field

from nemo_gym_lite.cli.common import command
from nemo_gym_lite.config.components import components
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.keys import SERVER_TYPES
from nemo_gym_lite.config.roots import find, locations
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.config_types import DatasetConfig
from nemo_gym_lite.datasets.rows import check
from nemo_gym_lite.datasets.scope import Dataset
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.progress import say
from nemo_gym_lite.serving.environment_tests import PytestCall, pytest_calls

_LEAST_ROWS = 5


class OneTestOptions(BaseModel, frozen=True, extra="forbid"):
    """Run the tests of one environment with pytest, from within its folder; ends with pytest's exit code."""

    entrypoint: Annotated[Path, Field(description="folder of the server, for instance resources_servers/gsm8k")]
    isolate: Annotated[
        bool | None, Field(description="build it an environment of its own; null: as its configuration says")
    ] = None
    use_installed_nemo_gym: Annotated[
        bool, Field(description="let `nemo_gym` mean NeMo Gym itself, where that is installed")
    ] = False
    should_validate_data: Annotated[
        bool, Field(description="check first that data/example.jsonl has five rows and all are valid")
    ] = False


@command("ng_test", OneTestOptions)
def main(argv: Sequence[str]) -> int:
    """Become the run of the tests, which ends with pytest's exit code; returns if only help was asked for."""
    composed = compose(argv, OneTestOptions, needs_servers=False)
    options = composed.options
    folder = _folder(options.entrypoint)
    if options.should_validate_data:
        validate_data(folder)
    theirs = options.use_installed_nemo_gym
    calls = pytest_calls([folder], composed.tree, isolate=options.isolate, use_alias=not theirs, show=say)
    [call] = asyncio.run(calls)
    if call.problem:
        raise call.problem
    return _become(call)


def _become(call: PytestCall) -> NoReturn:
    """Let pytest take the place of this process, so that whoever ends the one ends the other."""
    sys.stderr.flush()
    os.chdir(call.folder)
    os.execve(call.command[0], call.command, call.variables)  # noqa: S606 - pytest itself


def _folder(entrypoint: Path) -> Path:
    folder = next((place for place in locations(entrypoint) if (place / "tests").is_dir()), find(entrypoint))
    if folder is None or not folder.is_dir():
        known = [f"{one.parent}/{one.name}" for parent in SERVER_TYPES for one in components(parent, "*/app.py")]
        raise ConfigError(
            f"entrypoint: no such folder: {entrypoint}",
            did_you_mean(str(entrypoint), known, "it is a server's folder, as in resources_servers/gsm8k"),
        )
    if folder.name in SERVER_TYPES:
        raise ConfigError(f"entrypoint: {entrypoint} holds many servers", "name one of them, or run ng_test_all")
    return folder


def validate_data(folder: Path) -> None:
    """Check what an environment brings to be tried out.

    Raises:
        ConfigError: `data/example.jsonl` is missing, short or invalid, or metrics of the data are in conflict.
    """
    path = folder / "data" / "example.jsonl"
    if not path.is_file():
        raise ConfigError(f"no such file: {path}", f"put {_LEAST_ROWS} tasks there")
    entry = DatasetConfig(name="example", type="example", jsonl_fpath=str(path))
    checked = check(Dataset(folder.name, entry, path))
    if checked.faults:
        raise ConfigError("these rows are invalid\n  " + "\n  ".join(checked.faults))
    if checked.statistics.rows < _LEAST_ROWS:
        raise ConfigError(f"{path} has {checked.statistics.rows} rows; {_LEAST_ROWS} are wanted")
    if conflicts := sorted(path.parent.glob("*_conflict.json")):
        raise ConfigError(f"{conflicts[0]} says that the data is not what its metrics say")


if __name__ == "__main__":
    sys.exit(main())
