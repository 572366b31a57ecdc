"""What a user may say of arms on the command line of `ng_collect_rollouts`."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt


class ArmOptions(BaseModel):
    """Options of collection that concern arms."""

    arms_fpath: Annotated[
        Path | None,
        Field(description="YAML file of arms, named variants of the prompt; every task is played under each of them"),
    ] = None
    question_batch_size: Annotated[
        PositiveInt | None,
        Field(
            description="tasks in flight, each with all its arms and repeats; in place of num_samples_in_parallel, "
            "which is that times arms times repeats"
        ),
    ] = None
