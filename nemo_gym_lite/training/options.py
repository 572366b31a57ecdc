"""What a user may say on the command line of `ng_export_rollouts`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, Field, PositiveInt


class ExportOptions(BaseModel, frozen=True, extra="forbid", populate_by_name=True):
    """Write scored rollouts as training data; truncated and failed ones are left out and counted."""

    rollouts_jsonl_fpath: Annotated[
        Path,
        Field(
            validation_alias=AliasChoices("rollouts_jsonl_fpath", "input_jsonl_fpath"),
            description="output of ng_collect_rollouts (alias: input_jsonl_fpath)",
        ),
    ]
    output_fpath: Annotated[
        Path,
        Field(
            validation_alias=AliasChoices("output_fpath", "output_jsonl_fpath"),
            description="file to write, .jsonl or .parquet (alias: output_jsonl_fpath)",
        ),
    ]
    format: Annotated[
        Literal["sft", "tokens", "preference", "grpo"],
        Field(
            description="sft: conversations; tokens: sequences of token ids with a loss mask; preference: best and "
            "worst rollout of each task; grpo: all rollouts of each task"
        ),
    ] = "sft"
    columns: Annotated[
        Literal["trl", "nemo_rl"], Field(description="whose columns preference pairs get; the others are the same")
    ] = "trl"
    min_reward: Annotated[
        float | None, Field(description="sft and tokens: leave out rollouts with less; null takes all")
    ] = None
    margin: Annotated[
        float, Field(ge=0, description="preference: least difference of the two rewards; equal ones make no pair")
    ] = 0.0
    group_size: Annotated[
        PositiveInt | None, Field(description="grpo: rollouts of a complete group; null takes the run's num_repeats")
    ] = None
    agent_name: Annotated[str | None, Field(description="take this agent's rollouts only; null takes all")] = None
    overwrite: Annotated[bool, Field(description="replace the file to write")] = False
