"""What a user may say on the command line of `ng_verify_rollouts`, and the checks of it before anything starts."""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PositiveInt

from nemo_gym_lite.config.roots import find
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.resume import MAX_ROLLOUT_ATTEMPTS


class VerifyOptions(BaseModel):
    """Score the rollouts of a stored file, without a model; the same command again finishes the work."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    input_jsonl_fpath: Annotated[
        Path, Field(description="JSONL file of rollouts, scored or not, or the X_failures.jsonl of a run")
    ]
    output_jsonl_fpath: Annotated[Path, Field(description="JSONL file that scored rollouts are appended to")]
    concurrency: Annotated[
        PositiveInt,
        Field(
            validation_alias=AliasChoices("concurrency", "num_samples_in_parallel"),
            description="checks asked for at once; an environment's verify_pool has a number of processes of its own",
        ),
    ] = 64
    max_rollout_attempts: Annotated[
        PositiveInt, Field(description="failed checks, over all runs, after which a rollout is given up")
    ] = MAX_ROLLOUT_ATTEMPTS
    overwrite: Annotated[bool, Field(description="delete the output's four files first")] = False
    accept_changes: Annotated[
        bool, Field(description="append although the environment's settings changed since the output was begun")
    ] = False
    deadlines: Annotated[
        Deadlines, Field(description="seconds that each wait may last, for instance +deadlines.verify_s=60")
    ] = Deadlines()
    drain_s: Annotated[float, Field(ge=0, description="seconds that checks in flight get after Ctrl-C")] = 30.0

    def input_path(self) -> Path:
        """The input, found in the search roots.

        Raises:
            ConfigError: It is not there, or is a file that this run writes.
        """
        found, output = find(self.input_jsonl_fpath), OutputFiles(self.output_jsonl_fpath)
        if found is None or not found.is_file():
            raise ConfigError(
                f"input_jsonl_fpath: no such file: {self.input_jsonl_fpath}",
                "it is the output of ng_collect_rollouts, or the X_failures.jsonl that is beside it if rollouts failed",
            )
        if output.rollouts.suffix != ".jsonl":
            raise ConfigError(
                f"output_jsonl_fpath: {output.rollouts} does not end in .jsonl",
                "the names of the other files are made from it",
            )
        if found.resolve() in (file.resolve() for file in output.all()):
            raise ConfigError(
                f"input_jsonl_fpath is a file that this run writes: {found}",
                "give the scored rollouts an output_jsonl_fpath of their own",
            )
        return found
