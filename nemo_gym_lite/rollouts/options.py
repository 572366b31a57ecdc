"""What a user may say on the command line of `ng_collect_rollouts`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PositiveInt, field_serializer, field_validator

from nemo_gym_lite.arms.options import ArmOptions
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.rollouts.prices import DEFAULT_PRICES
from nemo_gym_lite.rollouts.resume import MAX_ROLLOUT_ATTEMPTS
from nemo_gym_lite.rollouts.shards import Shard


class CollectOptions(ArmOptions, BaseModel):
    """Play every task of a file, score it, and append it to the output; the same command again finishes the work."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    input_jsonl_fpath: Annotated[Path, Field(description="JSONL file of tasks")]
    output_jsonl_fpath: Annotated[Path, Field(description="JSONL file that scored rollouts are appended to")]
    agent_name: Annotated[
        str | None, Field(description="instance name of the agent, for rows that name none in `agent_ref`")
    ] = None
    limit: Annotated[int | None, Field(ge=0, description="number of input rows to play; null or 0 plays all")] = None
    shard: Annotated[
        Shard | None,
        Field(description="play every n-th task only, for instance 2/8, into X_shard_2_of_8.jsonl; null plays all"),
    ] = None
    num_repeats: Annotated[
        PositiveInt | dict[str, PositiveInt],
        Field(description="rollouts per input row; one number, or one by agent name with `_default`"),
    ] = 1
    num_samples_in_parallel: Annotated[
        PositiveInt | Literal["auto"],
        Field(
            validation_alias=AliasChoices("num_samples_in_parallel", "concurrency"),
            description="rollouts in flight at once (alias: concurrency); auto finds the number that fills the engines",
        ),
    ] = "auto"
    num_workers: Annotated[
        PositiveInt, Field(description="processes that play rollouts; 1 plays them in the collector itself")
    ] = 1
    warmup_requests: Annotated[
        int, Field(ge=0, description="small requests that every endpoint gets its share of before the clock starts")
    ] = 0
    responses_create_params: Annotated[
        dict[str, Any],
        Field(description="laid over each row's own, for instance +responses_create_params.temperature=0.3"),
    ] = {}
    num_repeats_add_seed: Annotated[
        bool, Field(description="send each repeat's number as the sampling seed, so that repeats differ")
    ] = False
    prompt_config: Annotated[
        Path | None,
        Field(description="YAML file with `user` and `system` templates, which make the input of rows without one"),
    ] = None
    verify: Annotated[
        Literal["inline", "deferred"],
        Field(description="inline scores each rollout at its end, deferred stores it for ng_verify_rollouts"),
    ] = "inline"
    resume_from_cache: Annotated[
        bool, Field(description="finish what an earlier run began; false refuses an output that has rows")
    ] = True
    max_rollout_attempts: Annotated[
        PositiveInt, Field(description="failures, over all runs, after which a rollout is given up")
    ] = MAX_ROLLOUT_ATTEMPTS
    overwrite: Annotated[bool, Field(description="delete the output's four files first")] = False
    accept_changes: Annotated[
        bool, Field(description="append although model, sampling or agent changed since the output was begun")
    ] = False
    deadlines: Annotated[
        Deadlines, Field(description="seconds that each wait may last, for instance +deadlines.call_s=120")
    ] = Deadlines()
    drain_s: Annotated[float, Field(ge=0, description="seconds that rollouts in flight get after Ctrl-C")] = 30.0
    max_cost_usd: Annotated[
        float | None,
        Field(
            gt=0, description="stop once the output has cost so many US dollars, earlier runs included (exit code 4)"
        ),
    ] = None
    max_total_tokens: Annotated[
        PositiveInt | None,
        Field(description="stop when the output has taken so many tokens, earlier runs included (exit code 4)"),
    ] = None
    max_wall_s: Annotated[
        float | None, Field(gt=0, description="stop after so many seconds of this run (exit code 4)")
    ] = None
    prices: Annotated[Path, Field(description="YAML file with prices of models, laid over configs/prices.yaml")] = (
        DEFAULT_PRICES
    )
    watchdog_s: Annotated[
        float, Field(gt=0, description="seconds in which no rollout ends, after which the oldest are named")
    ] = 60.0
    metrics_port: Annotated[
        int | None,
        Field(ge=0, le=65535, description="serve the run's metrics to Prometheus there; 0 takes a free port"),
    ] = None
    disable_aggregation: Annotated[bool, Field(description="do not write the aggregate metrics")] = False

    @field_validator("limit")
    @classmethod
    def _zero_is_all(cls, limit: int | None) -> int | None:
        return limit or None

    @field_validator("shard", mode="before")
    @classmethod
    def _read_shard(cls, shard: object) -> object:
        return Shard.parse(shard) if isinstance(shard, str) else shard

    @field_serializer("shard")
    def _write_shard(self, shard: Shard | None) -> str | None:
        return str(shard) if shard else None

    @field_validator("num_repeats", "num_samples_in_parallel", mode="before")
    @classmethod
    def _null_is_the_default(cls, value: object, info: Any) -> object:
        return cls.model_fields[info.field_name].default if value is None else value
