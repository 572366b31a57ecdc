"""Reads tasks from a JSONL file, one at a time, and checks the whole file before a run starts."""

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.openai_utils import NeMoGymResponseCreateParamsNonStreaming
from nemo_gym_lite.rollouts.plan import PlanSettings, Task, TaskLabels, agent_name_of, as_asked, task_key, with_seed

PARAMS = frozenset(NeMoGymResponseCreateParamsNonStreaming.model_fields)
"""Fields that `responses_create_params` may have."""


@dataclass(frozen=True, slots=True)
class InputSummary:
    """What a check of the input found.

    Attributes:
        tasks: Rows that will be played, after `limit` and `shard`.
        rows_by_agent: How many of these each agent plays, for every agent that any row of the input names, so that
            all shards know the same agents; None stands for rows that name none.
        digest: Hash of the whole input's bytes, to tell one input from another.
    """

    tasks: int
    rows_by_agent: dict[str | None, int]
    digest: str


def read_tasks(path: Path, limit: int | None = None) -> Iterator[Task]:
    """Yield the tasks of a JSONL file, lazily, up to `limit`; blank lines are skipped.

    Raises:
        ConfigError: A line is not a JSON object with `responses_create_params`; names file, line and problem.
    """
    for line, text in _lines(path, limit):
        yield Task(line, _parse(path, line, text))


def check_input(path: Path, settings: PlanSettings, limit: int | None = None) -> InputSummary:
    """Read the whole input, up to `limit`, before anything starts, so that a bad row 900,000 is found now.

    Raises:
        ConfigError: The file is missing, empty, or holds a malformed row.
    """
    if not path.is_file():
        what = "is no regular file" if path.exists() else "no such file"
        raise ConfigError(
            f"input_jsonl_fpath: {what}: {path}",
            "give the path of a JSONL file of tasks; it is read more than once, so a pipe will not do",
        )
    digest = blake2b(digest_size=16)
    rows_by_agent: dict[str | None, int] = {}
    labels = TaskLabels()
    for line, text in _lines(path, limit):
        digest.update(text)
        task = Task(line, _parse(path, line, text))
        try:
            key = _check_row(task.row, settings)
        except ConfigError as error:
            raise ConfigError(f"{path}, line {line}: {error.message}", error.hint) from None
        name = agent_name_of(task.row)
        ours = settings.shard is None or settings.shard.owns(labels.of(key))
        rows_by_agent[name] = rows_by_agent.get(name, 0) + ours
    if not rows_by_agent:
        raise ConfigError(f"input_jsonl_fpath: {path} holds no task", "one JSON object per line is expected")
    return InputSummary(sum(rows_by_agent.values()), rows_by_agent, digest.hexdigest())


def check_params(params: Mapping[str, Any], where: str) -> None:
    """Refuse fields that the Responses API does not have; a misspelt `temperature` would be dropped silently.

    Raises:
        ConfigError: Names the field and the nearest one.
    """
    for name in params:
        if name not in PARAMS:
            otherwise = "fields of the engine's own, such as seed or stop, go as JSON into metadata.extra_body"
            raise ConfigError(f"{where}: there is no field `{name}`", did_you_mean(name, PARAMS, otherwise))


def _check_row(row: dict[str, Any], settings: PlanSettings) -> str:
    """Return the task's key."""
    check_params(row["responses_create_params"], "responses_create_params")
    asked = as_asked(row, settings)
    for variant in [arm.applied(asked) for arm in settings.arms] or [asked]:
        _check_prompt(variant["responses_create_params"].get("input"))
        if settings.add_seed:
            with_seed(variant, 0)
    try:
        return task_key(asked, settings.agent_of(row))
    except TypeError as error:  # orjson reads more levels of nesting than it writes
        raise ConfigError(f"the row cannot be written as JSON again: {error}") from None


def _check_prompt(prompt: object) -> None:
    if not prompt and prompt != []:  # an empty list is filled by the agent, from other fields or from the environment
        raise ConfigError(
            "responses_create_params.input is missing or empty",
            "give the row an input, or make it from other fields with +prompt_config=",
        )
    if not isinstance(prompt, str | list):
        raise ConfigError(f"responses_create_params.input is neither a text nor a list of items: {prompt!r:.80}")


def _lines(path: Path, limit: int | None) -> Iterator[tuple[int, bytes]]:
    taken = 0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if taken == limit:
                    return
                if stripped := (text.removeprefix(BOM_UTF8) if number == 1 else text).strip():
                    taken += 1
                    yield number, stripped
    except OSError as error:
        raise ConfigError(f"input_jsonl_fpath: cannot read {path}: {error.strerror}") from error


def _parse(path: Path, line: int, text: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        shown = text[:80].decode(errors="replace")
        raise ConfigError(
            f"{path}, line {line}: not JSON: {error}\n  {shown}", "every line of the input is one JSON object"
        ) from None
    if not isinstance(row, dict):
        raise ConfigError(f"{path}, line {line}: a JSON object is expected, not {type(row).__name__}")
    if not isinstance(row.get("responses_create_params"), dict):
        raise ConfigError(
            f"{path}, line {line}: `responses_create_params` is missing or not an object",
            'a task looks like {"responses_create_params": {"input": "..."}, ...}',
        )
    return row
