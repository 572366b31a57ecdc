"""Turns tasks into specs, lazily: which rollouts are asked for, and by what name each is known for ever.

Identity is by content: `_ng_key` is a hash of the task as asked (prompt and overrides applied) plus the agent's
name, and `_ng_rollout_index` counts the rollouts of that key. Line numbers never enter, so a shuffled, cut or
concatenated input names the same rollouts.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

import orjson

from nemo_gym_lite.arms.arm import Arm, under_arms
from nemo_gym_lite.arms.template import filled
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.fingerprints import FingerprintTable, fingerprint
from nemo_gym_lite.rollouts.shards import Shard
from nemo_gym_lite.row_fields import TASK_INDEX

_MAX_LABEL = 1 << 63
"""A row's own label that does not fit into 64 bits is not kept; labels are for people."""


@dataclass(frozen=True, slots=True)
class Task:
    """One input row.

    Attributes:
        line: Its line number in the file, from 1.
        row: The JSON object.
    """

    line: int
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spec:
    """One rollout that is owed.

    Attributes:
        row: The task as asked, the same object for all repeats of a task.
        key: Hash of the task as asked and the agent's name, 32 hex digits.
        task_index: Label of the task, in order of first appearance.
        rollout_index: Number of this rollout within `key`, from 0.
        agent_name: Instance name of the agent that plays it.
        identity: Fingerprint of (key, rollout_index).
    """

    row: dict[str, Any]
    key: str
    task_index: int
    rollout_index: int
    agent_name: str
    identity: int


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What is asked for beyond the input file.

    Attributes:
        agent_name: Agent for rows that name none.
        repeats: Rollouts per input row; by agent name, or one number for all.
        params: Fields laid over each row's `responses_create_params`.
        add_seed: Write `seed = rollout index` into `metadata.extra_body`, so that repeats differ.
        prompt: Template that makes the input of rows that have none: `user` and, optionally, `system`.
        shard: The part of the input to play; None plays all.
        arms: Variants of the prompt, of which every task is played under each; none plays tasks as they are.
    """

    agent_name: str | None = None
    repeats: int | Mapping[str, int] = 1
    params: Mapping[str, Any] = field(default_factory=dict)
    add_seed: bool = False
    prompt: Mapping[str, str] | None = None
    shard: Shard | None = None
    arms: tuple[Arm, ...] = ()

    def agent_of(self, row: Mapping[str, Any]) -> str:
        """The agent that plays a row, empty if neither the row nor these settings name one."""
        return agent_name_of(row) or self.agent_name or ""

    def repeats_of(self, agent_name: str) -> int:
        """Rollouts per input row of that agent."""
        if isinstance(self.repeats, int):
            return self.repeats
        return self.repeats.get(agent_name, self.repeats.get("_default", 1))


class TaskLabels:
    """Labels tasks by what they ask, in order of first appearance, from 0.

    Args:
        expected: Number of tasks, as a hint for the table.
    """

    def __init__(self, expected: int = 0) -> None:
        self._labels = FingerprintTable(expected)

    def of(self, key: str) -> int:
        """The label of the task with this key."""
        return self._labels.number(fingerprint(key.encode()))


def agent_name_of(row: Mapping[str, Any]) -> str | None:
    """The agent that a row asks for in its `agent_ref`, or None."""
    reference = row.get("agent_ref")
    name = reference.get("name") if isinstance(reference, dict) else None
    return name if isinstance(name, str) else None


def identity(key: str, rollout_index: int) -> int:
    """Fingerprint of one rollout, as the resume table stores it."""
    return fingerprint(f"{key}:{rollout_index}".encode())


def plan(tasks: Iterable[Task], settings: PlanSettings, expected: int = 0) -> Iterator[Spec]:
    """Yield every rollout that the tasks ask for; a task's arms and repeats are adjacent, to share its prompt's cache.

    Args:
        tasks: The input; identical rows are further rollouts of one task.
        settings: Agent, repeats, overrides.
        expected: Number of tasks, as a hint for the table of keys already seen.
    """
    labels, played = TaskLabels(expected), array("I")  # played: rollouts so far, by label
    for task in tasks:
        agent_name = settings.agent_of(task.row)
        row = as_asked(task.row, settings)
        key = task_key(row, agent_name)
        label = labels.of(key)
        if label == len(played):
            played.append(0)
        if settings.shard is not None and not settings.shard.owns(label):
            continue
        first = played[label]
        played[label] += settings.repeats_of(agent_name)
        own_label = task.row.get(TASK_INDEX)
        shown_label = own_label if isinstance(own_label, int) and abs(own_label) < _MAX_LABEL else label
        for asked, own_key in under_arms(settings.arms, row, key, partial(task_key, agent_name=agent_name)):
            for index in range(first, played[label]):
                seeded = with_seed(asked, index) if settings.add_seed else asked
                yield Spec(seeded, own_key, shown_label, index, agent_name, identity(own_key, index))


def as_asked(row: dict[str, Any], settings: PlanSettings) -> dict[str, Any]:
    """The task with prompt template and overrides applied and without labels; the input row is not changed.

    Raises:
        ConfigError: The prompt template does not fit the row.
    """
    asked = {name: value for name, value in row.items() if not name.startswith("_ng_") and name != "agent_ref"}
    params = asked["responses_create_params"]
    if settings.prompt is not None:
        if params.get("input"):
            raise ConfigError(
                "prompt_config is given, and this row already has `responses_create_params.input`",
                "leave prompt_config out, or remove the input from the rows",
            )
        params = {**params, "input": _messages(settings.prompt, row)}
    asked["responses_create_params"] = {**params, **settings.params}
    return asked


def task_key(asked: dict[str, Any], agent_name: str) -> str:
    """Hash of a task as asked and its agent, the same for any order of its fields."""
    digest = blake2b(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), digest_size=16)
    digest.update(b"\0" + agent_name.encode())
    return digest.hexdigest()


def _messages(prompt: Mapping[str, str], row: Mapping[str, Any]) -> list[dict[str, str]]:
    roles = [role for role in ("system", "user") if prompt.get(role)]
    return [{"role": role, "content": filled(prompt[role], row, "prompt_config")} for role in roles]


def with_seed(row: dict[str, Any], seed: int) -> dict[str, Any]:
    """The task as asked with a sampling seed, where engines look for it.

    Raises:
        ConfigError: The row's own `metadata.extra_body` is not JSON, so there is no place for a seed.
    """
    params = row["responses_create_params"]
    metadata = params.get("metadata") or {}
    try:
        extra_body = {**orjson.loads(metadata.get("extra_body") or "{}"), "seed": seed}
    except (AttributeError, TypeError, orjson.JSONDecodeError):
        raise ConfigError(
            f"num_repeats_add_seed has no place for a seed in responses_create_params.metadata: {metadata!r:.80}",
            'metadata is an object, and its extra_body the text of one, as in {"extra_body": "{"top_k": 20}"}',
        ) from None
    metadata = {**metadata, "extra_body": orjson.dumps(extra_body).decode()}
    return {**row, "responses_create_params": {**params, "metadata": metadata}}
