"""Gets played what is owed: so many slots as the limit allows, each pulling the next spec when it is free.

Every spec that enters a slot leaves as exactly one line, a rollout or a failure; only a killed process leaves none,
and the next run owes it again. Nothing is kept for longer than it is in flight.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from nemo_gym_lite.errors import GymError
from nemo_gym_lite.rollouts.line import Line
from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.rollouts.progress import Tally
from nemo_gym_lite.rollouts.sink import Sink


class Collector:
    """Has specs played and writes what comes of them.

    Args:
        specs: The rollouts owed; pulled one at a time, when a slot is free.
        play: Plays one, with the number of its earlier failures; never raises but for a cancellation.
        sink: Where lines go.
        tally: Counted up as rollouts end.
        observe: Called with every line after it was written.
        limit: Rollouts in flight at once, at first.
        drain_s: Seconds that rollouts in flight get to finish after a first `stop`.
        attempts: How often a rollout failed in earlier runs.
    """

    def __init__(
        self,
        specs: Iterator[Spec],
        play: Callable[[Spec, int], Awaitable[Line]],
        sink: Sink,
        tally: Tally,
        *,
        limit: int,
        observe: Callable[[Line], None] = lambda _: None,
        drain_s: float = 30.0,
        attempts: Callable[[Spec], int] = lambda _: 0,
    ) -> None:
        self._specs = specs
        self._play = play
        self._sink = sink
        self._tally = tally
        self._observe = observe
        self._drain_s = drain_s
        self._attempts = attempts
        self._limit = tally.limit = max(1, limit)
        self._ending = self._draining = self._exhausted = False
        self._slots: set[asyncio.Task[None]] = set()
        self._ahead: Spec | None = None  # pulled to see whether there is one
        self._open = 0  # slots that will look for another spec
        self._group: asyncio.TaskGroup | None = None

    @property
    def in_flight(self) -> int:
        """Rollouts that are in flight now."""
        return self._tally.in_flight

    @property
    def stopped_early(self) -> bool:
        """Whether `stop` was called before everything was played."""
        return self._ending

    def resize(self, limit: int) -> None:
        """Change the limit; rollouts beyond a lower one play to their end, and no other takes their place."""
        self._limit = self._tally.limit = max(1, limit)
        self._open_slots()

    def owes_more(self) -> bool:
        """Whether rollouts are left that nobody has begun."""
        if self._ahead is None:
            self._ahead = next(self._specs, None)
        return self._ahead is not None

    def stop(self, *, patiently: bool = False) -> None:
        """End early: the first call lets rollouts in flight finish for `drain_s`, the second cancels them.

        Args:
            patiently: They may take as long as they do, so that nothing is thrown away that was paid for; the next
                call counts as the first one.
        """
        if self._draining:
            self._cancel()
            return
        self._ending = True
        if not patiently:
            self._draining = True
            asyncio.get_running_loop().call_later(self._drain_s, self._cancel)

    async def run(self) -> None:
        """Play until nothing is owed or `stop` ends it.

        Raises:
            OutputError: A line could not be written; what was written before is whole.
            ConfigError: The input changed under the run.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._open_slots()
        except* GymError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._group = None

    def _open_slots(self) -> None:
        """Fill the limit up, as far as rollouts are left."""
        if self._group is None or self._ending or self._exhausted:
            return
        wanted = min(self._limit, max(1, self._tally.left))
        for _ in range(wanted - self._open):
            self._open += 1
            slot = self._group.create_task(self._slot())
            self._slots.add(slot)
            slot.add_done_callback(self._slots.discard)

    async def _slot(self) -> None:
        tally = self._tally
        try:
            while not self._ending and self._open <= self._limit and (spec := self._next()) is not None:
                tally.in_flight += 1
                tally.max_in_flight = max(tally.max_in_flight, tally.in_flight)
                began_s = time.monotonic()
                try:
                    line = await self._play(spec, self._attempts(spec))
                    tally.count_time(time.monotonic() - began_s)
                    self._write(line)
                finally:
                    tally.in_flight -= 1
                await asyncio.sleep(0)  # a rollout can fail without waiting; signals, probes, others need their turn
        finally:
            self._open -= 1

    def _next(self) -> Spec | None:
        spec, self._ahead = self._ahead or next(self._specs, None), None
        self._exhausted = spec is None
        return spec

    def _write(self, line: Line) -> None:
        if line.failure_class is None:
            self._sink.rollouts.write(line.data)
            self._tally.delivered += 1
        else:
            self._sink.failures.write(line.data)
            self._tally.count_failure(line.failure_class, line.message)
        self._observe(line)

    def _cancel(self) -> None:
        for slot in self._slots:
            slot.cancel()
