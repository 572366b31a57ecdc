"""Model calls on disk: one JSONL file per rollout, for whoever wants to see what its model was asked and answered."""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import ModelServerRef
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollout_correlation import ROLLOUT_ID_PATTERN

_ENABLED, _FOLDER = "observability_enabled", "model_call_capture_dir"


class CaptureStore:
    """The calls of rollouts, in files that are only appended to.

    Args:
        root: Folder of the files; made if it is not there.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)

    @classmethod
    def of_config(cls, tree: Any) -> "CaptureStore | None":
        """The store that a configuration asks for, None if it asks for none.

        Raises:
            ConfigError: It does not say where, with an absolute path.
        """
        if not isinstance(tree, Mapping) or not tree.get(_ENABLED):
            return None
        folder = tree.get(_FOLDER)
        if not folder or not Path(str(folder)).is_absolute():
            raise ConfigError(
                f"{_ENABLED}=true needs {_FOLDER} as an absolute path, found {folder!r}",
                f"add ++{_FOLDER}=$PWD/model_calls",
            )
        return cls(str(folder))

    def path_for(self, rollout_id: str) -> Path:
        """The file of a rollout.

        Raises:
            ValueError: The id is none.
        """
        if not ROLLOUT_ID_PATTERN.match(rollout_id):
            raise ValueError(f"{rollout_id!r} is no rollout id")
        return self.root / f"{rollout_id}.capture.jsonl"

    def record(self, rollout_id: str, exchange: Mapping[str, Any]) -> None:
        """Append one call; it is on the disk when this returns. Blocking.

        Raises:
            OSError: It cannot be written.
        """
        line = orjson.dumps(exchange, default=str, option=orjson.OPT_APPEND_NEWLINE)
        with self.path_for(rollout_id).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # a model server may have several processes
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def read(self, rollout_id: str) -> list[Json]:
        """The calls of a rollout in the order in which they ended; none if there are none."""
        path = self.path_for(rollout_id)
        return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class ModelCallRecord(BaseModel):
    """One call as it was captured, with what readers ask first.

    Attributes:
        call_index: Number of the call in its rollout, in the order in which calls ended.
        dialect: `responses`, `chat` or `messages`.
        started_at: Seconds since the epoch.
        request: Body of the request, if it was JSON.
        response: Body of the reply, if it was JSON.
        response_raw: Body of a reply that was not, as a stream of events.
        error_category: None, or how the call failed: `timeout`, `rate_limit`, `client_error`, `upstream_error`.
    """

    model_config = ConfigDict(extra="ignore")

    call_index: int
    model_call_id: str | None = None
    response_id: str | None = None
    model_ref: ModelServerRef | None = None
    model: str | None = None
    dialect: str | None = None
    status_code: int | None = None
    response_status: str | None = None
    finish_reason: str | None = None
    started_at: float | None = None
    completed_at: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_total: int | None = None
    request: Json | None = None
    response: Json | None = None
    response_raw: str | None = None
    error_category: str | None = None
    latency_total_ms: float | None = None
    latency_ttft_ms: float | None = None


def read_model_call_records(store: CaptureStore, rollout_id: str) -> list[ModelCallRecord]:
    """The captured calls of a rollout, in the order in which they ended."""
    return [_record(exchange, index) for index, exchange in enumerate(store.read(rollout_id))]


def _record(exchange: Json, index: int) -> ModelCallRecord:
    reply: Json = exchange.get("response") or {}
    usage: Json = reply.get("usage") or {}
    choice: Json = next(iter(reply.get("choices") or ()), {})
    finish = reply.get("stop_reason") or choice.get("finish_reason")
    tokens_in: Any = usage.get("input_tokens", usage.get("prompt_tokens"))
    tokens_out: Any = usage.get("output_tokens", usage.get("completion_tokens"))
    known_sum = None if None in (tokens_in, tokens_out) else tokens_in + tokens_out
    return ModelCallRecord.model_validate(
        {
            **exchange,
            "call_index": index,
            "response_id": reply.get("id"),
            "model": reply.get("model") or (exchange.get("request") or {}).get("model"),
            "response_status": reply.get("status"),
            "finish_reason": finish or (reply.get("incomplete_details") or {}).get("reason"),
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "tokens_total": usage.get("total_tokens", known_sum),
        }
    )
