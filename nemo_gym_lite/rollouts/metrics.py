"""Running aggregates over scored rollouts, without keeping a row.

Kept per rollout are two labels and one 8-byte number per numeric field, in flat arrays: a million rollouts with six
fields take 64 MB, and medians and per-task statistics stay exact. The keys of the result are NeMo Gym's.
"""

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.fingerprints import FingerprintTable, fingerprint
from nemo_gym_lite.row_fields import KEY, ROLLOUT_INDEX, TASK_INDEX


def numeric_fields(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a row that statistics are made of: its own numeric fields, then those of its usage.

    Fields whose names begin with `_` are labels. Booleans count as 0 and 1; NaN and infinities are left out.
    """
    usage = row.get("usage")
    for source in (row, usage if isinstance(usage, dict) else {}):
        for name, value in source.items():
            if isinstance(value, int | float) and not name.startswith("_") and math.isfinite(value):
                yield name, float(value)


class TaskNumbers:
    """Numbers tasks by what they ask, their `_ng_key`: labels restart with every input file, so two files that went
    into one output share them. Rows without a key are told apart by their label.

    Attributes:
        labels: The label that each task came with, by its number.
    """

    def __init__(self) -> None:
        self.labels = array("q")
        self._numbers = FingerprintTable()

    def of(self, row: Mapping[str, Any]) -> int:
        """The number of a row's task, from 0 in order of appearance."""
        label = row.get(TASK_INDEX) or 0
        mark = fingerprint(str(row.get(KEY, label)).encode())
        number = self._numbers.get(mark)
        if number is None:
            self._numbers.set(mark, number := len(self.labels))
            self.labels.append(label)
        return number

    def distinct_labels(self) -> "array[int]":
        """The labels, where a task whose label another one has already gets one beyond all others."""
        distinct, seen, free = array("q", self.labels), FingerprintTable(len(self.labels)), max(self.labels, default=0)
        for number, label in enumerate(self.labels):
            if not seen.add(fingerprint(str(label).encode())):
                free += 1
                distinct[number] = free
        return distinct


class AgentMetrics:
    """The aggregates of one agent's rollouts.

    Attributes:
        count: Rollouts taken in.
    """

    def __init__(self) -> None:
        self.count = 0
        self._numbers = TaskNumbers()
        self._tasks = array("I")
        self._rollouts = array("q")
        self._columns: dict[str, array[float]] = {}
        self._sums: dict[str, float] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a scored row in."""
        self._tasks.append(self._numbers.of(row))
        self._rollouts.append(row.get(ROLLOUT_INDEX) or 0)
        for name, value in numeric_fields(row):
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = array("d")
            column.extend([math.nan] * (self.count - len(column)))
            if len(column) == self.count:
                column.append(value)
                self._sums[name] = self._sums.get(name, 0.0) + value
        self.count += 1

    def sum(self, name: str) -> float:
        """Sum of one field."""
        return self._sums.get(name, 0.0)

    def agent_metrics(self) -> Json:
        """`mean/ max/ min/ median/ std/` of every numeric field over all rollouts."""
        result: Json = {}
        for name in self._columns:
            result.update(_statistics(name, self._values(name, range(self.count))))
        return result

    def group_metrics(self, agent_name: str) -> Iterator[Json]:
        """The same per task, one group at a time, in order of their labels."""
        positions = _by_label(self._tasks)
        labels = self._numbers.distinct_labels()
        ends = array("I", bytes(4 * len(labels)))
        for task in self._tasks:
            ends[task] += 1
        for task in range(1, len(ends)):
            ends[task] += ends[task - 1]
        for task in _by_label(labels):
            members = positions[ends[task - 1] if task else 0 : ends[task]]
            yield self._group(labels[task], sorted(members, key=self._rollouts.__getitem__), agent_name)

    def _group(self, task: int, members: list[int], agent_name: str) -> Json:
        group: Json = {TASK_INDEX: task}
        for name in self._columns:
            group.update(_statistics(name, self._values(name, members)))
        group["sample"] = {"agent_ref": {"name": agent_name}}
        group["num_rollouts"] = group["expected_num_rollouts"] = len(members)
        group["missing_num_rollouts"] = 0
        group["reward_profile_completion_pct"] = 100.0
        group["rollout_infos"] = [self._info(task, at) for at in members]
        return group

    def _info(self, task: int, at: int) -> Json:
        rollout = self._rollouts[at]
        info: Json = {"rollout_id": f"{task}:{rollout}", TASK_INDEX: task, ROLLOUT_INDEX: rollout}
        for name, column in self._columns.items():
            if at < len(column) and not math.isnan(value := column[at]):
                info[name] = value
        return info

    def _values(self, name: str, members: range | list[int]) -> list[float]:
        column = self._columns[name]
        return [value for at in members if at < len(column) and not math.isnan(value := column[at])]


class RunMetrics:
    """The aggregates of a run: one `AgentMetrics` per agent."""

    def __init__(self) -> None:
        self.agents: dict[str, AgentMetrics] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a scored row in."""
        name = row["agent_ref"]["name"]
        agent = self.agents.get(name)
        if agent is None:
            agent = self.agents[name] = AgentMetrics()
        agent.add(row)

    def mean_reward(self) -> float | None:
        """Mean reward over all agents' rollouts, None before the first."""
        count = sum(agent.count for agent in self.agents.values())
        return sum(agent.sum("reward") for agent in self.agents.values()) / count if count else None

    def total(self, name: str) -> float:
        """Sum of one field over all agents' rollouts."""
        return sum(agent.sum(name) for agent in self.agents.values())


def _by_label(labels: "array[int]") -> Sequence[int]:
    """Positions in the order of their labels; those of one label stay in order.

    Labels that count up from 0 are sorted by counting, which takes 8 bytes for each where `sorted` takes 100.
    """
    most = max(labels, default=0)
    if min(labels, default=0) < 0 or most > 2 * len(labels):
        return sorted(range(len(labels)), key=labels.__getitem__)
    starts = array("I", bytes(4 * (most + 2)))
    for label in labels:
        starts[label + 1] += 1
    for label in range(most):
        starts[label + 1] += starts[label]
    order = array("I", bytes(4 * len(labels)))
    for position, label in enumerate(labels):
        order[starts[label]] = position
        starts[label] += 1
    return order


def _statistics(name: str, values: list[float]) -> Json:
    if not values:
        return {}
    if len(values) == 1:
        value = values[0]
        return {
            f"mean/{name}": value,
            f"max/{name}": value,
            f"min/{name}": value,
            f"median/{name}": value,
            f"std/{name}": 0.0,
        }
    mean = fmean(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return {
        f"mean/{name}": mean,
        f"max/{name}": max(values),
        f"min/{name}": min(values),
        f"median/{name}": median(values),
        f"std/{name}": math.sqrt(variance),
    }
