"""Collection for programs: a whole run from its options, or single rows played on running servers as they come.

rows = await RolloutCollectionHelper().run_from_config(RolloutCollectionConfig(...))

for future in RolloutCollectionHelper().run_examples(rows):
    row, result = await future
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import orjson
from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict
from tqdm.asyncio import tqdm

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.global_config import CONFIG_PATHS_KEY_NAME, get_global_config_dict, maybe_get_global_config_dict
from nemo_gym_lite.rollouts.files import OutputFiles, read_rows
from nemo_gym_lite.rollouts.line import labels
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.plan import plan
from nemo_gym_lite.rollouts.posted import run_posted
from nemo_gym_lite.rollouts.request import make_request
from nemo_gym_lite.rollouts.run import run
from nemo_gym_lite.rollouts.source import read_tasks
from nemo_gym_lite.row_fields import FAILURE_CLASS, FAILURE_TERMINAL, KEY, NO_PERSIST, ROLLOUT_INDEX, TASK_INDEX
from nemo_gym_lite.server_utils import (
    GlobalAIOHTTPAsyncClientConfig,
    ServerClient,
    get_response_json,
    raise_for_status,
)
from nemo_gym_lite.serving.client import choose_limits

__all__ = [
    "NG_FAILURE_CLASS_KEY",
    "NG_NO_PERSIST_KEY",
    "NG_TERMINAL_KEY",
    "RolloutCollectionConfig",
    "RolloutCollectionHelper",
    "get_global_config_dict",
]

NG_FAILURE_CLASS_KEY = FAILURE_CLASS
NG_NO_PERSIST_KEY = NO_PERSIST
NG_TERMINAL_KEY = FAILURE_TERMINAL

Rows: TypeAlias = list[Json]

_OF_ROWS = frozenset(
    ("num_repeats", "num_repeats_add_seed", "prompt_config", "responses_create_params", "limit", "shard")
)
"""Options that say what the rows are; where a subclass makes the rows, it has applied them."""


class RolloutCollectionConfig(CollectOptions):
    """The options of `ng_collect_rollouts`; what else a configuration holds is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class RolloutCollectionHelper(BaseModel):
    """Collects rollouts for a program. Methods with an underscore are for subclasses to override."""

    async def run_from_config(self, config: CollectOptions) -> Rows:
        """Do what `ng_collect_rollouts` does with these options, and return the output's rows in order of the tasks.

        It plays with the `ng_run` that this process's configuration leads to, or starts the configured servers; a
        subclass with a `setup_server_client` of its own plays through that client. All rows are in memory at the end;
        a program that has very many reads the output file instead.

        Raises:
            GymError: As `ng_collect_rollouts` fails.
        """
        options = self._options(config)
        if self._overrides("setup_server_client"):
            request = make_request(CollectOptions.model_validate(options))
            await run_posted(request, self.setup_server_client())
        else:
            tree = maybe_get_global_config_dict()
            initial: Any = {} if tree is None else OmegaConf.to_container(tree, resolve=False)
            initial.pop(CONFIG_PATHS_KEY_NAME, None)  # what they hold is there already
            composed = compose([], CollectOptions, needs_servers=False, initial=initial | options)
            await run(composed, make_request(composed.options))
        _, rows, results, _ = self._load_from_cache(config)
        await self._call_aggregate_metrics(results, rows, Path(config.output_jsonl_fpath))
        return sorted(results, key=lambda row: (row[TASK_INDEX], row[ROLLOUT_INDEX]))

    def run_examples(
        self,
        examples: Sequence[Json],
        head_server_config: BaseServerConfig | None = None,
        semaphore: AbstractAsyncContextManager[Any] | None = None,
    ) -> Iterator[Any]:
        """Play rows on running servers; yields awaitables, each of which gives one `(row, result)` as it comes.

        Args:
            examples: Rows with an `agent_ref`; the results are what the agents' `/run` reply.
            head_server_config: Where to ask for the servers; by default as this process's configuration says.
            semaphore: Limits how many are in flight; by default all are.

        Raises:
            aiohttp.ClientResponseError: From an awaitable whose row failed; its `response_content` tells why.
        """
        client = self.setup_server_client(head_server_config)
        limit = semaphore or nullcontext()

        async def play(row: Json) -> tuple[Json, Json]:
            async with limit:
                reply = await client.post(server_name=row["agent_ref"]["name"], url_path="/run", json=row)
                await raise_for_status(reply)
                return row, await get_response_json(reply)

        played: Iterator[Any] = tqdm.as_completed(
            [play(row) for row in examples], total=len(examples), desc="Collecting rollouts", miniters=10
        )
        return played

    def setup_server_client(self, head_server_config: BaseServerConfig | None = None) -> ServerClient:
        """A client of the running servers, with the connection limits that their configuration sets.

        Raises:
            NoServerInstancesError: A `ValueError`: no head server answers.
        """
        client = ServerClient.load_from_global_config(head_server_config)
        limits = GlobalAIOHTTPAsyncClientConfig.model_validate(client.global_config_dict)
        if limits.model_fields_set:
            choose_limits(limits)
        return client

    def _options(self, config: CollectOptions) -> Json:
        """The options as a configuration holds them; rows that a subclass makes itself are written down first."""
        options = config.model_dump(mode="json", exclude_unset=True)
        if not self._overrides("_preprocess_rows_from_config"):
            return options
        output = config.output_jsonl_fpath
        path = output.with_name(f"{output.stem}_materialized_inputs.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for row in self._preprocess_rows_from_config(config):
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        kept = {name: value for name, value in options.items() if name not in _OF_ROWS}
        return kept | {"input_jsonl_fpath": str(path)}

    def _overrides(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(RolloutCollectionHelper, method)

    def _preprocess_rows_from_config(self, config: CollectOptions) -> Rows:
        """The rows that the options ask for, one for each rollout, with its labels and its agent."""
        request = make_request(config.model_copy(update={"resume_from_cache": True}))
        specs = plan(read_tasks(request.input, config.limit), request.settings)
        return [{**spec.row, **labels(spec)} for spec in specs]

    def _load_from_cache(self, config: CollectOptions) -> tuple[Rows, Rows, Rows, list[list[bytes]]]:
        """What the output holds: rows still owed, rows played, their results, and these as lines."""
        path = config.shard.path(config.output_jsonl_fpath) if config.shard else config.output_jsonl_fpath
        results = [row for row in read_rows(path) if row is not None]
        makes_rows = self._overrides("_preprocess_rows_from_config")
        asked = {} if makes_rows else {_identity(row): row for row in self._preprocess_rows_from_config(config)}
        rows = [asked.pop(_identity(result), result) for result in results]
        return list(asked.values()), rows, results, [[orjson.dumps(result)] for result in results]

    async def _call_aggregate_metrics(self, results: Rows, rows: Rows, output_fpath: Path) -> Path | None:
        """Path of the metrics that the run wrote; None if it was told not to."""
        path = OutputFiles(output_fpath).metrics
        return path if path.is_file() else None


def _identity(row: Json) -> tuple[Any, Any]:
    return row[KEY], row[ROLLOUT_INDEX]
