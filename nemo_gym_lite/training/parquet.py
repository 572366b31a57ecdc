"""Rows as Parquet, in row groups of bounded size; the only module that imports pyarrow.

Arguments of calls and tools have another shape in every row, so they are stored in Arrow's JSON type: `datasets` gives
them back as objects, pyarrow as text.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from nemo_gym_lite.clients import Json

ROW_GROUP_ROWS = 1_000
ROW_GROUP_BYTES = 4_000_000
"""Most rows, and bytes as JSON, of a row group: what is in memory at once."""

_MESSAGES = frozenset({"messages", "prompt", "chosen", "rejected", "context", "completion"})


def schema_of(kind: str, json: pa.DataType | None = None) -> pa.Schema:
    """The columns of a format; `json` is the type of what has a shape of its own in each row."""
    json = json or pa.json_()
    call = pa.struct({"id": _TEXT, "type": _TEXT, "function": pa.struct({"name": _TEXT, "arguments": json})})
    said = {"role": _TEXT, "content": _TEXT, "tool_calls": pa.list_(call), "tool_call_id": _TEXT, "name": _TEXT}
    messages = pa.list_(pa.struct(said))
    labels = {"task_index": pa.int64(), "agent": _TEXT, "arm": _TEXT}
    own = {"reward": pa.float64(), **labels, "rollout_index": pa.int64()}
    pair = {name: pa.float64() for name in ("margin", "chosen_reward", "rejected_reward")} | labels
    pair = {"tools": json, **pair, "chosen_turns": _TURNS, "rejected_turns": _TURNS}
    ranked = pa.list_(pa.struct({"rank": pa.int64(), "completion": messages}))
    columns = {
        "sft": {"messages": messages, "tools": json, **own, "turns": _TURNS},
        "tokens": {"input_ids": _IDS, "assistant_masks": _MASK, "logprobs": _NUMBERS, **own},
        "preference": {"prompt": messages, "chosen": messages, "rejected": messages, **pair},
        "ranked": {"context": messages, "completions": ranked, **pair},
        "grpo": {
            "prompt": messages,
            "completions": pa.list_(messages),
            "rewards": pa.list_(pa.float64()),
            "tools": json,
            **labels,
            "rollout_indices": pa.list_(pa.int64()),
            "turns": pa.list_(_TURNS),
        },
    }
    return pa.schema(columns[kind])


@contextmanager
def writer(file: BinaryIO, kind: str) -> Iterator[Callable[[Json], None]]:
    """A function that writes rows of a format to an open file; the last of them are written when the block ends."""
    schema, plain = schema_of(kind), schema_of(kind, _TEXT)
    waiting: list[Json] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if waiting:
            table.write_table(pa.Table.from_pylist(waiting, schema=plain).cast(schema))
            waiting.clear()
            size = 0

    def write(row: Json) -> None:
        nonlocal size
        waiting.append({name: _stored(name, value) for name, value in row.items()})
        size += len(orjson.dumps(row))
        if len(waiting) >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            flush()

    with pq.ParquetWriter(file, schema, compression="zstd") as table:
        yield write
        flush()


def _stored(name: str, value: Any) -> Any:
    """A column's value with JSON as text."""
    if value is None:
        return None
    if name == "tools":
        return orjson.dumps(value).decode()
    if name in _MESSAGES:
        return [_stored_message(message) for message in value]
    if name == "completions":  # of a group, or ranked
        return [
            {**each, "completion": _stored("completion", each["completion"])}
            if isinstance(each, dict)
            else _stored("completion", each)
            for each in value
        ]
    return value


def _stored_message(message: Json) -> Json:
    if "tool_calls" not in message:
        return message
    return {**message, "tool_calls": [{**call, "function": _stored_call(call)} for call in message["tool_calls"]]}


def _stored_call(call: Json) -> Json:
    function = call["function"]
    return {"name": function["name"], "arguments": orjson.dumps(function["arguments"]).decode()}


_TEXT = pa.string()
_IDS, _MASK, _NUMBERS = pa.list_(pa.int32()), pa.list_(pa.int8()), pa.list_(pa.float64())
_TURNS = pa.list_(pa.struct({"input_ids": _IDS, "loss_mask": _MASK, "logprobs": _NUMBERS, "continues": pa.bool_()}))
