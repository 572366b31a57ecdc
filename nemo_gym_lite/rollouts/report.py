"""Writes `X_aggregate_metrics.json` and the closing lines that a user reads."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from nemo_gym_lite.errors import OutputError
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.metrics import AgentMetrics, RunMetrics
from nemo_gym_lite.rollouts.plan import KEY

Json = dict[str, Any]

_MAX_HOOK_ROWS = 50_000
"""An environment's own metrics need all rows at once; beyond this many they are left out, to keep memory flat."""

_MAX_TEXT = 200
"""Longer texts are not handed to an environment's metrics: answers are short, transcripts are not."""

_LEFT_OUT = {"responses_create_params", "response", "usage", "agent_ref", KEY}


def write_metrics(files: OutputFiles, metrics: RunMetrics, own: Mapping[str, Json | None]) -> dict[str, Json]:
    """Write the aggregate metrics, one agent and one task at a time.

    Args:
        files: The output.
        metrics: The running aggregates.
        own: By agent name, what its environment computed itself, laid over ours; None where it computes nothing.

    Returns:
        The key metrics of each agent.
    """
    temporary = files.metrics.with_name(f".{files.metrics.name}.{os.getpid()}")
    keys: dict[str, Json] = {}
    try:
        with temporary.open("wb") as file:
            file.write(b"[")
            for number, (name, agent) in enumerate(sorted(metrics.agents.items())):
                file.write(b",\n" if number else b"\n")
                summary = _summary(name, agent, own.get(name))
                keys[name] = summary["key_metrics"]
                file.write(orjson.dumps(summary, option=orjson.OPT_INDENT_2)[:-2])
                file.write(b',\n  "group_level_metrics": [')
                separator = b"\n    "
                for group in agent.group_metrics(name):
                    file.write(separator + orjson.dumps(group))
                    separator = b",\n    "
                file.write(b"\n  ]\n}")
            file.write(b"\n]\n")
        temporary.replace(files.metrics)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {files.metrics}: {error.strerror}") from error
    return keys


def rows_for_hook(path: Path, agent_name: str, count: int) -> list[Json] | None:
    """The scored rows of one agent without prompts, responses and long texts, or None if they are too many."""
    if count > _MAX_HOOK_ROWS:
        return None
    return [_stripped(row) for row in _rows(path) if row.get("agent_ref", {}).get("name") == agent_name]


def _summary(name: str, agent: AgentMetrics, own: Json | None) -> Json:
    computed = agent.agent_metrics()
    key_metrics = {key: value for key, value in computed.items() if key.startswith("mean/")}
    if own is not None:
        computed.update(own.get("agent_metrics") or {})
        key_metrics = own.get("key_metrics") or key_metrics
    return {"agent_ref": {"name": name}, "agent_metrics": computed, "key_metrics": key_metrics}


def _rows(path: Path) -> Iterator[Json]:
    with path.open("rb") as file:
        for line in file:
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(row, dict):
                yield row


def _stripped(row: Json) -> Json:
    kept = {
        name: value
        for name, value in row.items()
        if name not in _LEFT_OUT and not (isinstance(value, str) and len(value) > _MAX_TEXT)
    }
    kept["response"] = {"usage": row.get("usage")}
    return kept
