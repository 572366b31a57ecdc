"""Plays rollouts in several processes, so that a run uses more than one core.

The collector plans, counts and writes as ever; it sends specs to workers (`worker.py`) and gets finished lines back.
A worker that dies costs nothing but time: what it had not answered is played again by others, and it is started anew.
"""

import asyncio
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, Self

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import FailedCallError, ServerStartError
from nemo_gym_lite.rollouts.line import Line, failed, labels
from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.rollouts.roster import MAX_DEATHS, Roster, Ticket
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.rollouts.vitals import Vitals, merged
from nemo_gym_lite.rollouts.worker import Setup
from nemo_gym_lite.rollouts.workplace import Workplace
from nemo_gym_lite.routing.engine_metrics import OwnEngine
from nemo_gym_lite.serving.child import Show

_BACKOFF_S, _BACKOFF_CAP_S = 0.25, 4.0
"""Before a worker that did nothing in its life is started again; doubles with each such life. One that delivered
anything is started at once."""

_MAX_FAILED_STARTS, _NOBODY_S = 5, 60.0
"""Lives in a row, of all workers together, that ended before they were ready, and seconds without a ready worker, after
which there is no point in another life. Both, because workers may as well be killed while they start."""

_SILENCE_S = 60.0
"""Seconds beyond the deadline of a check after which a worker that says nothing is taken for hung."""

_START_S = 300.0
"""Seconds until a worker must be ready; some environments load data first."""

_LOOK_S = 1.0


class WorkerCrew:
    """Plays in several processes for the length of an `async with` block, in which all of them came up.

    Args:
        setup: What workers have to know.
        ticker: Knows how late this process's event loop was.
        show: Gets the lines that workers print, and what becomes of them.
    """

    def __init__(self, setup: Setup, ticker: Ticker, show: Show) -> None:
        self._setup = setup.dump()
        self._silence_s = setup.deadlines.verify_s + _SILENCE_S
        self._ticker = ticker
        self._show = show
        self._workers = [Workplace(number, self._take) for number in range(1, setup.workers + 1)]
        self._roster = Roster()
        self._tickets: dict[int, tuple[Ticket, asyncio.Future[Line]]] = {}
        self._played = 0
        self._past = Vitals()
        self._failed_starts = 0
        self._nobody_since_s: float | None = None
        self._broken: ServerStartError | None = None
        self._over = asyncio.Event()
        self._row: tuple[Json, orjson.Fragment] | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._listener: asyncio.Task[None] | None = None
        self._missing = len(self._workers)
        self._ready: asyncio.Future[None]
        self.engines: Mapping[str, OwnEngine] = {}

    async def __aenter__(self) -> Self:
        """Start the workers.

        Raises:
            ServerStartError: One did not come up.
        """
        self._ready = asyncio.get_running_loop().create_future()
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        self._listener = asyncio.create_task(self._listen())
        self._pass_hangups_on()
        try:
            await self._ready
        except BaseException:  # cancelled or not: no process may stay
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def play(self, spec: Spec, attempts: int = 0) -> Line:
        """Have a rollout played.

        Raises:
            ServerStartError: No worker comes up any more.
        """
        if self._broken is not None:
            raise self._broken
        self._played += 1
        ticket = Ticket(self._played, spec, attempts)
        answer: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._tickets[ticket.number] = (ticket, answer)
        self._roster.add(ticket)
        self._hand_out()
        try:
            return await answer
        except asyncio.CancelledError:
            self._give_up(ticket)
            raise

    def vitals(self) -> Vitals:
        """How all processes together are doing."""
        whole = merged([self._past, *(worker.vitals for worker in self._workers)])
        whole.loop_lag_s = max(whole.loop_lag_s, self._ticker.lag_s)
        return whole

    async def close(self) -> None:
        """End the workers."""
        self._over.set()
        await asyncio.gather(*(worker.end() for worker in self._workers))
        if self._listener is not None:
            self._listener.cancel()
        await asyncio.gather(*self._keepers)  # not cancelled: one may be starting a process, which must not stay

    def _pass_hangups_on(self) -> None:
        """Whatever here heeds a SIGHUP is in the workers too, as a file of endpoints."""
        previous = signal.getsignal(signal.SIGHUP)
        if not callable(previous):
            return

        def pass_on(number: int, frame: FrameType | None) -> None:
            previous(number, frame)
            for worker in self._workers:
                worker.signal(number)

        signal.signal(signal.SIGHUP, pass_on)

    def _hand_out(self) -> None:
        for ticket in self._roster.placed():
            assert ticket.worker is not None
            spec = ticket.spec
            if self._row is None or self._row[0] is not spec.row:  # repeats of a task share their row
                row = orjson.dumps(spec.row, option=orjson.OPT_NON_STR_KEYS)
                self._row = spec.row, orjson.Fragment(row)
            self._workers[ticket.worker - 1].hand(
                [
                    *(ticket.number, ticket.attempts, spec.key, spec.task_index, spec.rollout_index, spec.agent_name),
                    self._row[1],
                ]
            )

    def _give_up(self, ticket: Ticket) -> None:
        if self._tickets.pop(ticket.number, None) is not None:
            if ticket.worker is not None:
                self._workers[ticket.worker - 1].cancel(ticket.number)
            self._roster.remove(ticket)

    def _take(self, worker: Workplace, head: Json, rest: memoryview) -> None:
        if lines := head.get("lines"):
            worker.has_delivered = True
            self._deliver(lines, rest)
        elif "vitals" in head:
            worker.vitals = Vitals.of_json(head["vitals"])
        elif "ready" in head:
            worker.was_ready = True
            self._failed_starts, self._nobody_since_s = 0, None
            self._missing -= 1
            if not self._missing and not self._ready.done():
                self._ready.set_result(None)
            self._roster.join(worker.number)
        self._hand_out()

    def _deliver(self, lines: list[list[Any]], rest: memoryview) -> None:
        begin = 0
        for number, facts, failure_class, message, terminal, size in lines:
            end = begin + size
            ticket, answer = self._tickets.pop(number, (None, None))
            if ticket is not None and answer is not None:  # nobody waits for one that was cancelled
                self._roster.remove(ticket)
                facts.update(labels(ticket.spec, ticket.attempts))
                answer.set_result(Line(bytes(rest[begin:end]), facts, failure_class, message, terminal))
            begin = end

    async def _keep(self, worker: Workplace) -> None:
        """Have a worker live, again and again."""
        idle_lives = 0
        while True:
            try:
                error = await worker.live(self._setup, self._show)
            except ServerStartError as cause:  # the system makes no more processes; perhaps it will again
                error = cause
            if self._over.is_set():
                return
            self._bury(worker, error)
            idle_lives = 0 if worker.has_delivered else idle_lives + 1
            wait_s = min(_BACKOFF_S * 2.0 ** (idle_lives - 1), _BACKOFF_CAP_S) if idle_lives else 0.0
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._over.wait()
                    return

    def _bury(self, worker: Workplace, error: ServerStartError) -> None:
        self._past.calls.merge(worker.vitals.calls)
        worker.vitals = Vitals()
        orphans = self._roster.leave(worker.number)
        if not self._ready.done():
            self._ready.set_exception(error)
            return
        self._failed_starts += not worker.was_ready
        if self._is_hopeless():
            self._break(error)
            return
        hint = f" ({error.hint})" if error.hint else ""
        self._show(f"{error.message}{hint}; it is started again, and its {len(orphans)} rollouts are played again")
        for ticket in orphans:
            if ticket.deaths < MAX_DEATHS:
                self._roster.add(ticket)
            else:
                self._fail(ticket, error)
        self._hand_out()

    def _is_hopeless(self) -> bool:
        """Whether no worker seems to come up any more."""
        if not self._roster.is_empty:
            return False
        now_s = time.monotonic()
        self._nobody_since_s = self._nobody_since_s or now_s
        return self._failed_starts >= _MAX_FAILED_STARTS and now_s - self._nobody_since_s >= _NOBODY_S

    def _fail(self, ticket: Ticket, error: ServerStartError) -> None:
        _, answer = self._tickets.pop(ticket.number)
        text = f"{ticket.deaths} workers died while they played this rollout, the last one so: {error.message}"
        answer.set_result(failed(ticket.spec, FailedCallError("worker_died", text), ticket.attempts))

    def _break(self, error: ServerStartError) -> None:
        """No worker comes up: end the run, which may be continued."""
        self._broken = error
        for _, answer in self._tickets.values():
            if not answer.done():
                answer.set_exception(error)

    async def _listen(self) -> None:
        """End workers that say nothing; counted in looks, so that a pause of this process is not theirs."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for worker in self._workers:
                worker.silent_s += _LOOK_S
                patience_s = self._silence_s if worker.was_ready else _START_S
                if worker.silent_s > patience_s:
                    self._show(f"worker {worker.number} has said nothing for {patience_s:g} s and is ended")
                    worker.signal(signal.SIGKILL)
                    worker.silent_s = 0.0
