"""Running aggregates over scored rollouts, without keeping a row.

Kept per rollout are two labels and one number per numeric field, in columns of a few bytes: a million rollouts with six
fields take about 25 MB, and medians and per-task statistics stay exact. The keys of the result are NeMo Gym's.
"""

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from sys import intern
from typing import Any

from nemo_gym_lite.arms.arm import ARM, ARM_LABEL
from nemo_gym_lite.arms.metrics import ArmMetrics
from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.columns import Column, Statistics, statistics_of
from nemo_gym_lite.rollouts.fingerprints import FingerprintTable, fingerprint
from nemo_gym_lite.row_fields import KEY, ROLLOUT_INDEX, TASK_INDEX

_NUMBERS = frozenset({int, float, bool})
"""What JSON has; asking for the type itself takes a third of `isinstance`, a dozen times a row."""


def numeric_fields(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a row that statistics are made of: its own numeric fields, then those of its usage.

    Fields whose names begin with `_` are labels. Booleans count as 0 and 1; NaN and infinities are left out.
    """
    usage = row.get("usage")
    for source in (row, usage) if isinstance(usage, dict) else (row,):
        for name, value in source.items():
            if type(value) in _NUMBERS and name[:1] != "_" and math.isfinite(value):
                yield name, value


class TaskNumbers:
    """Numbers tasks by what they ask, their `_ng_key`: labels restart with every input file, so two files that went
    into one output share them. Rows without a key are told apart by their label.

    Args:
        expected: Number of tasks to make room for at once, so that memory does not grow while they come.

    Attributes:
        labels: The label that each task came with, by its number.
        arms: The arm that each task is played under, by its number; only of tasks that have one.
    """

    def __init__(self, expected: int = 0) -> None:
        self.labels = array("q")
        self.arms: dict[int, str] = {}
        self._numbers = FingerprintTable(expected)

    def of(self, row: Mapping[str, Any]) -> int:
        """The number of a row's task, from 0 in order of appearance."""
        label = row.get(TASK_INDEX) or 0
        number = self._numbers.number(fingerprint(str(row.get(KEY, label)).encode()))
        if number == len(self.labels):
            self.labels.append(label)
            if ARM_LABEL in row:
                self.arms[number] = intern(str(row.get(ARM)))
        return number

    def distinct_labels(self) -> "array[int]":
        """The labels, where a task whose label another one has already gets one beyond all others."""
        distinct, free = array("q", self.labels), max(self.labels, default=0)
        order, last = positions_by_label(self.labels), None
        for number in order:
            label, repeats = self.labels[number], self.labels[number] == last
            last = label
            if repeats:
                free += 1
                distinct[number] = free
        return distinct


class AgentMetrics:
    """The aggregates of one agent's rollouts.

    Args:
        expected: Number of tasks to make room for.

    Attributes:
        count: Rollouts taken in.
        arms: The aggregates by arm.
    """

    def __init__(self, expected: int = 0) -> None:
        self.count = 0
        self.arms = ArmMetrics()
        self._numbers = TaskNumbers(expected)
        self._tasks = array("I")
        self._rollouts = Column()
        self._columns: dict[str, Column] = {}
        self._of_usage: list[str] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a scored row in."""
        if ARM_LABEL in row:
            self.arms.add(row)
        self._tasks.append(self._numbers.of(row))
        self._rollouts.put(self.count, row.get(ROLLOUT_INDEX) or 0)
        for name, value in numeric_fields(row):
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = Column()
                if name not in row:
                    self._of_usage.append(name)
            column.put(self.count, value)
        self.count += 1

    def has(self, name: str) -> bool:
        """Whether rollouts have this field."""
        return name in self._columns

    def sum(self, name: str) -> float:
        """Sum of one field."""
        return self._columns[name].sum if name in self._columns else 0.0

    def agent_metrics(self) -> Json:
        """`mean/ max/ min/ median/ std/` of every numeric field over all rollouts."""
        return _by_kind({name: column.statistics() for name, column in self._columns.items()})

    def group_metrics(self, agent_name: str) -> Iterator[Json]:
        """The same per task, one group at a time, in order of their labels."""
        positions = positions_by_label(self._tasks)
        labels = self._numbers.distinct_labels()
        ends = array("I", [0]) * len(labels)
        for task in self._tasks:
            ends[task] += 1
        for task in range(1, len(ends)):
            ends[task] += ends[task - 1]
        for task in positions_by_label(labels):
            members = positions[ends[task - 1] if task else 0 : ends[task]]
            group = self._group(labels[task], sorted(members, key=self._rollout), agent_name)
            yield {**group, ARM: self._numbers.arms[task]} if task in self._numbers.arms else group

    def _group(self, task: int, members: list[int], agent_name: str) -> Json:
        numbers = [self._row(at) for at in members]
        columns = {name: [row[name] for row in numbers if name in row] for name in self._columns}
        group: Json = {TASK_INDEX: task}
        group |= _by_kind({name: statistics_of(values) for name, values in columns.items() if values})
        group["sample"] = {"agent_ref": {"name": agent_name}}
        group["num_rollouts"] = group["expected_num_rollouts"] = len(members)
        group["missing_num_rollouts"] = 0
        group["reward_profile_completion_pct"] = 100.0
        group["rollout_infos"] = [self._info(task, at, row) for at, row in zip(members, numbers, strict=True)]
        return group

    def _info(self, task: int, at: int, row: dict[str, float]) -> Json:
        """What one rollout came to: its reward, its tokens, the rest; counts are whole numbers again."""
        rollout = self._rollout(at)
        info: Json = {"rollout_id": f"{task}:{rollout}", TASK_INDEX: task, ROLLOUT_INDEX: rollout}
        for name in dict.fromkeys(("reward", *self._of_usage, *row)):
            if (value := row.get(name)) is not None:
                info[name] = int(value) if self._columns[name].counts else value
        return info

    def _row(self, at: int) -> dict[str, float]:
        """The numeric fields of one rollout."""
        return {name: value for name, column in self._columns.items() if (value := column.at(at)) is not None}

    def _rollout(self, at: int) -> int:
        return int(self._rollouts.at(at) or 0)


def _by_kind(statistics: Mapping[str, Statistics]) -> Json:
    """All means, then all maxima, and so on, as NeMo Gym orders them."""
    kinds = enumerate(Statistics._fields)
    return {f"{kind}/{name}": values[at] for at, kind in kinds for name, values in statistics.items()}


class RunMetrics:
    """The aggregates of a run: one `AgentMetrics` per agent.

    Args:
        expected: Number of tasks to make room for, by agent.
    """

    def __init__(self, expected: Mapping[str, int] | None = None) -> None:
        self.agents: dict[str, AgentMetrics] = {}
        self._expected = expected or {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a scored row in."""
        name = row["agent_ref"]["name"]
        agent = self.agents.get(name)
        if agent is None:
            agent = self.agents[name] = AgentMetrics(self._expected.get(name, 0))
        agent.add(row)

    def mean_reward(self) -> float | None:
        """Mean reward over all agents' rollouts, None before the first and where they are scored later."""
        scored = [agent for agent in self.agents.values() if agent.has("reward")]
        count = sum(agent.count for agent in scored)
        return sum(agent.sum("reward") for agent in scored) / count if count else None

    def total(self, name: str) -> float:
        """Sum of one field over all agents' rollouts."""
        return sum(agent.sum(name) for agent in self.agents.values())


def positions_by_label(labels: "array[int]") -> Sequence[int]:
    """Positions in the order of their labels; those of one label stay in order.

    Labels that count up from 0 are sorted by counting, which takes 8 bytes for each (more where others are
    another shard's) and `sorted` 100.
    """
    most = max(labels, default=0)
    if min(labels, default=0) < 0 or most > 16 * len(labels):
        return sorted(range(len(labels)), key=labels.__getitem__)
    starts = array("I", [0]) * (most + 2)
    for label in labels:
        starts[label + 1] += 1
    for label in range(most):
        starts[label + 1] += starts[label]
    order = array("I", [0]) * len(labels)
    for position, label in enumerate(labels):
        order[starts[label]] = position
        starts[label] += 1
    return order
