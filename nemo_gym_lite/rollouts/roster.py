"""Which worker plays which rollout, and what happens to those of a worker that died.

A rollout goes to the worker that has the fewest, but repeats of a task stay together while that costs little
balance, so that a worker can keep them on one endpoint.

A worker's death is rarely the fault of a rollout, and nothing says of which. So a rollout that was there at several
deaths plays on in ever smaller company of its like: the one that kills is soon alone with its deeds, and is given up
after `MAX_DEATHS`, while the others get through.
"""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from nemo_gym_lite.rollouts.plan import Spec

MAX_DEATHS = 10
"""Deaths after which a rollout fails. Even of those that last as long as a worker that is killed over and over, one
in a million gets there by chance if a kill meets every fourth."""

SUSPECT_AFTER = 2
"""Deaths after which a rollout is no longer played in any company."""

_COMPANY = 64
"""Suspects in one worker at the first suspicion; a quarter of it with each further death, down to one."""


@dataclass(eq=False, slots=True)
class Ticket:
    """One rollout that somebody waits for.

    Attributes:
        number: Its number in this run.
        spec: What to play.
        attempts: How often it failed in earlier runs.
        deaths: How many workers died while they played it.
        worker: Who plays it, None while it waits.
    """

    number: int
    spec: Spec
    attempts: int
    deaths: int = 0
    worker: int | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what kills workers."""
        return self.deaths >= SUSPECT_AFTER

    @property
    def company(self) -> int:
        """How many suspects, itself included, a worker may play at the same time."""
        return max(1, _COMPANY >> 2 * (self.deaths - SUSPECT_AFTER))


@dataclass(slots=True)
class _Table:
    """What one worker plays."""

    playing: set[Ticket] = field(default_factory=set)
    suspects: set[Ticket] = field(default_factory=set)

    def has_room_for(self, suspect: Ticket) -> bool:
        """Whether another suspect may join those that are there."""
        smallest = min((each.company for each in self.suspects), default=suspect.company)
        return len(self.suspects) < min(smallest, suspect.company)


class Roster:
    """Spreads rollouts over workers, which come and go.

    Args:
        rng: Breaks ties.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self._tables: dict[int, _Table] = {}
        self._waiting: deque[Ticket] = deque()
        self._suspects: deque[Ticket] = deque()
        self._last: tuple[int, int] | None = None  # task and worker of the rollout placed last
        self._in_play = 0
        self._rng = rng or random.Random()

    @property
    def is_empty(self) -> bool:
        """Whether no worker is ready."""
        return not self._tables

    def join(self, worker: int) -> None:
        """A worker is ready."""
        self._tables[worker] = _Table()

    def leave(self, worker: int) -> list[Ticket]:
        """A worker died; returns what it played, to be added again or given up."""
        table = self._tables.pop(worker, None)
        if table is None:
            return []
        self._in_play -= len(table.playing)
        for ticket in table.playing:
            ticket.worker = None
            ticket.deaths += 1
        return sorted(table.playing, key=lambda ticket: ticket.number)

    def add(self, ticket: Ticket) -> None:
        """Line a rollout up; `placed` says when it goes to whom."""
        (self._suspects if ticket.is_suspect else self._waiting).append(ticket)

    def remove(self, ticket: Ticket) -> None:
        """A rollout ended, or nobody waits for it any more."""
        if ticket.worker is None:
            queue = self._suspects if ticket.is_suspect else self._waiting
            if ticket in queue:
                queue.remove(ticket)
            return
        table = self._tables[ticket.worker]
        table.playing.discard(ticket)
        table.suspects.discard(ticket)
        self._in_play -= 1

    def placed(self) -> Iterator[Ticket]:
        """Give waiting rollouts to workers, as far as there is room, and yield those that got one."""
        while self._waiting and self._tables:
            ticket = self._waiting.popleft()
            self._seat(ticket, self._choose(ticket.spec.task_index))
            yield ticket
        while self._suspects:
            ticket = self._suspects[0]
            free = [worker for worker, table in self._tables.items() if table.has_room_for(ticket)]
            if not free:
                return
            self._suspects.popleft()
            worker = min(free, key=lambda worker: len(self._tables[worker].suspects))
            self._tables[worker].suspects.add(ticket)
            self._seat(ticket, worker)
            yield ticket

    def _seat(self, ticket: Ticket, worker: int) -> None:
        ticket.worker = worker
        self._tables[worker].playing.add(ticket)
        self._in_play += 1
        self._last = (ticket.spec.task_index, worker)

    def _choose(self, task: int) -> int:
        loads = {worker: len(table.playing) for worker, table in self._tables.items()}
        least = min(loads.values())
        if self._last is not None and self._last[0] == task and self._last[1] in loads:
            margin = self._in_play // (4 * len(loads))
            if loads[self._last[1]] <= least + margin:
                return self._last[1]
        return self._rng.choice([worker for worker, load in loads.items() if load == least])
