"""Which rollouts belong together, for files in any order: where each row is, and no row itself.

About 60 bytes for a rollout, whatever its length.
"""

from array import array
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.fingerprints import FingerprintTable, fingerprint
from nemo_gym_lite.rollouts.metrics import positions_by_label
from nemo_gym_lite.rollouts.plan import agent_name_of
from nemo_gym_lite.row_fields import KEY, TASK_INDEX


class Place(NamedTuple):
    """Where a rollout is, and what decides whether it is taken."""

    rollout: int
    reward: float
    start: int


class GroupIndex:
    """The rollouts of each task: same task as asked, same agent, same arm."""

    def __init__(self) -> None:
        self._numbers = FingerprintTable()
        self._groups, self._indices = array("I"), array("I")
        self._starts, self._rewards = array("Q"), array("d")
        self._agents: dict[str, int] = {}
        self._agent_of, self._sizes = array("I"), array("I")

    def see(self, row: Json) -> int:
        """Note that a rollout is there, usable or not; returns its group's number."""
        agent = agent_name_of(row) or ""
        name = row.get(KEY) or f"{agent}:{row.get(TASK_INDEX)}:{row.get('arm')}"
        group = self._numbers.number(fingerprint(f"{name}".encode()))
        if group == len(self._sizes):
            self._agent_of.append(self._agents.setdefault(agent, len(self._agents)))
            self._sizes.append(0)
        self._sizes[group] += 1
        return group

    def add(self, group: int, place: Place) -> None:
        """Take a usable rollout of a group."""
        self._groups.append(group)
        self._indices.append(place.rollout)
        self._rewards.append(place.reward)
        self._starts.append(place.start)

    def __len__(self) -> int:
        return len(self._sizes)

    def largest(self) -> dict[str, int]:
        """By agent, most rollouts that any of its groups has."""
        most = dict.fromkeys(self._agents, 0)
        names = list(self._agents)
        for agent, size in zip(self._agent_of, self._sizes, strict=True):
            most[names[agent]] = max(most[names[agent]], size)
        return most

    def groups(self) -> Iterator[tuple[str, list[Place]]]:
        """The agent and the usable rollouts of each group that has any, by index, in the order of first appearance."""
        names = list(self._agents)
        for group, positions in groupby(positions_by_label(self._groups), self._groups.__getitem__):
            places = (Place(self._indices[at], self._rewards[at], self._starts[at]) for at in positions)
            yield names[self._agent_of[group]], sorted(places)
