"""Where sessions live: load decides where one starts, staying keeps its growing prompt in one engine's prefix cache.

A session moves when its home fails or is overloaded: a move costs a full prefill, so its home must have `margin` more
requests in flight than the least loaded endpoint, and more than twice as many. With affinity by task, what is before
the first dash of a session's id is its group, and a group starts all its sessions at one endpoint, within the same
margin.
"""

import random
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from nemo_gym_lite.routing.endpoint_state import EndpointState

Placement = Literal["round_robin", "least_loaded"]
Affinity = Literal["session", "task"]

KEPT = 100_000
"""Homes remembered, and groups. Episodes that play in this process end their sessions; those of other processes are
forgotten by age, and forgetting a live one costs it one prefill."""


class Homes:
    """The table of sessions.

    Args:
        placement: How a session without a home is placed.
        affinity: Whether the sessions of a task stay together.
        margin: Requests in flight beyond the least loaded endpoint's that a session's home may have.
        rng: Breaks ties.
    """

    def __init__(self, placement: Placement, affinity: Affinity, margin: int, rng: random.Random) -> None:
        self._placement, self._by_task, self._margin, self._rng = placement, affinity == "task", margin, rng
        self._homes: OrderedDict[str, EndpointState] = OrderedDict()
        self._groups: OrderedDict[str, EndpointState] = OrderedDict()
        self._turn = 0
        self._ends_are_told = False

    def __len__(self) -> int:
        return len(self._homes)

    def of(self, session_id: str) -> EndpointState | None:
        """The session's home, None if it has none."""
        home = self._homes.get(session_id)
        if home is not None:
            self._homes.move_to_end(session_id)
        return home

    def settle(self, session_id: str, home: EndpointState) -> None:
        """Give a session a home, in place of the one that it had."""
        self.end(session_id)
        self._homes[session_id] = home
        home.sessions += 1
        if len(self._homes) > KEPT:
            _, left = self._homes.popitem(last=False)
            left.sessions -= 1
        if self._by_task:
            group = _group_of(session_id)
            self._groups[group] = home
            self._groups.move_to_end(group)
            if len(self._groups) > KEPT:
                self._groups.popitem(last=False)

    def finish(self, session_id: str) -> None:
        """Forget a session that is over, else the table grows for the whole run."""
        self._ends_are_told = True
        self.end(session_id)

    def end(self, session_id: str) -> None:
        """Forget a session that is about to move."""
        home = self._homes.pop(session_id, None)
        if home is not None:
            home.sessions -= 1

    def is_overloaded(self, home: EndpointState, states: Sequence[EndpointState]) -> bool:
        """Whether a session had better leave `home` for another one of `states`."""
        if home.in_flight <= self._margin or self._placement == "round_robin":
            return False
        least = min([state.in_flight for state in states])
        if home.in_flight - least <= max(self._margin, least):
            return False
        least = min((state.in_flight for state in states if self._welcomes(state)), default=home.in_flight)
        return home.in_flight - least > max(self._margin, least)

    def choose(self, session_id: str, candidates: Sequence[EndpointState]) -> EndpointState:
        """The best of `candidates`, at least one, for a session that cannot stay where it lives."""
        if self._by_task:
            home = self._groups.get(_group_of(session_id))
            if home is not None and home in candidates and not self.is_overloaded(home, candidates):
                return home
        if self._placement == "round_robin":
            self._turn += 1
            return candidates[(self._turn - 1) % len(candidates)]
        return min(candidates, key=self._load)

    def _load(self, state: EndpointState) -> tuple[int, int, float]:
        """What counts is episodes, as one that runs a tool will be back; requests, where nobody says what is over."""
        if self._ends_are_told:
            return state.sessions, state.in_flight, self._rng.random()
        return state.in_flight, state.sessions, self._rng.random()

    def _welcomes(self, state: EndpointState) -> bool:
        """Whether sessions may move there: not for a probe, nor to where few requests are let in at a time."""
        if state.leaving or state.breaker.down:
            return False
        return state.window.limit - state.in_flight > self._margin


def _group_of(session_id: str) -> str:
    return session_id.partition("-")[0]
