"""Checks in processes of their own: one that spins, crashes or takes all memory costs its row, and nobody else's time.

Checks wait in line for a free process; the deadline counts from a check's start. A process whose check passes its
deadline is killed, one that ends by itself is missed, and either is replaced at once. A check that takes much longer
than others did makes room before its deadline: it goes on with lower priority, beside a new process.
"""

import asyncio
import signal
from collections import deque
from collections.abc import Callable

from fastapi import Request, Response

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import Deadlines, VerifyPool
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.serving.asgi import deadline_of, wants_delta
from nemo_gym_lite.serving.check_processes import OUT_OF_MEMORY, Answer, Checker, Template

_SLOW_TIMES = 10.0
_SLOW_LEAST_S = 0.01
"""A check is slow when it has taken ten times the mean of those that ended, and no less than this."""

_UNSURE_LEAST_S = 1.0
_SURE_AFTER = 8
"""Of the mean of fewer checks one cannot be sure, so a slow one is given a second; before the first nobody is slow."""

_SLOW_FOR_EACH = 8
"""Slow checks at once for each process. With a tenth of the others' weight they take less than half of the CPU, so the
others' time at most doubles however many rows spin."""

_MEAN_OVER = 100


class CheckPool:
    """Scores rows with an environment's `verify`, each in a process that can be killed.

    Args:
        name: The environment's instance.
        settings: Number of processes and what each may use.
        tree: The resolved configuration, which each process loads the environment from.
        path: The environment's route that checks; another than `/verify` if only part of a check can block.
    """

    def __init__(self, name: str, settings: VerifyPool, tree: Json, path: str = "/verify") -> None:
        self._name = name
        self._settings = settings
        self._tree = tree
        self._path = path
        self._template: Template | None = None
        self._starting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[Checker] = []
        self._waiting: deque[asyncio.Future[Checker]] = deque()
        self._places = 0  # checkers that are neither gone nor slow, those that are being started included
        self._slow = 0
        self._ended = 0
        self._mean_s = 0.0
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the checkers that are free now."""
        return [checker.pid for checker in self._idle]

    async def verify(self, request: Request) -> Response:
        """The route `/verify`, near and served alike."""
        headers = request.scope["headers"]
        timeout_s = self._settings.timeout_s or deadline_of(headers) or Deadlines().verify_s
        status, body = await self.check(await request.body(), timeout_s, delta=wants_delta(headers))
        return Response(body, status, media_type="application/json")

    async def check(self, row: bytes, timeout_s: float, *, delta: bool) -> Answer:
        """Score one row.

        Args:
            row: JSON of a verify request.
            timeout_s: Seconds that the check may take, from its start.
            delta: Whether the reply may leave out the echo of the request.

        Returns:
            Status and body, as the environment's server would reply them.

        Raises:
            FailedCallError: `verify_failed` with the cause `timeout`, `crash` or `out_of_memory`; without one if no
                process can be started.
        """
        checker = await self._free_checker()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        deadline = loop.call_later(timeout_s, checker.overrun)
        look = _Look(loop, self._patience_s(), lambda: self._look_at(checker, loop.time() - began_s))
        answer = None
        try:
            answer = await checker.ask(row, delta)
        finally:
            deadline.cancel()
            look.cancel()
            self._slow -= checker.slow
            if answer is None or answer[0] == OUT_OF_MEMORY or checker.slow or checker.retires:
                checker.kill()  # also when nobody waits for the answer any more
            else:
                self._offer(checker)
        if answer is None or answer[0] == OUT_OF_MEMORY:
            raise await self._failure(checker, answer, timeout_s)
        self._ended += 1
        self._mean_s += (loop.time() - began_s - self._mean_s) / min(self._ended, _MEAN_OVER)
        return answer

    async def close(self) -> None:
        """End all processes."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for checker in self._idle:
            checker.close()
        if self._template is not None:
            await self._template.close()

    async def _free_checker(self) -> Checker:
        while self._idle:
            checker = self._idle.pop()
            if not checker.gone.done():
                return checker
        waiter: asyncio.Future[Checker] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        while self._places < self._settings.processes:
            self._start_one()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._offer(waiter.result())
            raise

    def _offer(self, checker: Checker) -> None:
        """Give a free checker to whoever waits longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(checker)
                return
        self._idle.append(checker)

    def _start_one(self) -> None:
        self._places += 1
        task = asyncio.create_task(self._start())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> None:
        try:
            async with self._starting:
                template = await self._whole_template()
            if template is None:
                self._places -= 1
                return
            checker = await template.fork()
        except FailedCallError as error:
            self._places -= 1
            self._refuse(error)
        else:
            checker.gone.add_done_callback(lambda _: self._miss(checker))
            self._offer(checker)

    async def _whole_template(self) -> Template | None:
        """The template; None if there is none and no row that would need it."""
        if self._template is not None and self._template.gone:
            await self._template.close()
            self._template = None
        if self._template is None and self._waiting:
            order: Json = {"name": self._name, "path": self._path, "tree": self._tree}
            order["memory_bytes"] = self._settings.memory_mb * 2**20
            self._template = await Template.start(self._name, order)
        return self._template

    def _refuse(self, error: FailedCallError) -> None:
        """Tell all who wait that there is nothing to wait for; each gets an error of its own."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(FailedCallError(error.failure_class, error.message, error.hint))

    def _patience_s(self) -> float:
        """Seconds after which a check is looked at; it is slow if it has taken so long and others have ended."""
        least_s = _SLOW_LEAST_S if self._ended >= _SURE_AFTER else _UNSURE_LEAST_S
        return max(least_s, _SLOW_TIMES * self._mean_s)

    def _look_at(self, checker: Checker, took_s: float) -> float | None:
        """Move a check that is slow out of the way of the others; seconds to the next look, None if there is none."""
        if checker.gone.done():
            return None
        if (patience_s := self._patience_s()) > took_s:
            return patience_s - took_s
        if not self._ended or self._slow >= _SLOW_FOR_EACH * self._settings.processes:
            return _UNSURE_LEAST_S
        self._slow += 1
        self._places -= 1
        checker.slow_down()
        self._start_one()
        return None

    def _miss(self, checker: Checker) -> None:
        """Replace a checker that ended, unless that happened when it was made room for."""
        if not checker.slow:
            self._places -= 1
            if checker in self._idle:  # it did nothing: the next row finds out whether a new one stays
                self._idle.remove(checker)
            elif not self._closed:
                self._start_one()

    async def _failure(self, checker: Checker, answer: Answer | None, timeout_s: float) -> FailedCallError:
        what = f"verify of {self._name}"
        if answer is not None:
            return _failed(f"{what} needed more than {self._settings.memory_mb} MB of memory", "out_of_memory")
        if checker.overran:
            return _failed(f"{what} took longer than {timeout_s:g} s", "timeout")
        code = await checker.ending()
        if code == -signal.SIGKILL:
            return _failed(f"{what} was killed, which the kernel does for want of memory", "out_of_memory")
        if code is not None and code < 0:
            return _failed(f"{what} crashed with {signal.Signals(-code).name}", "crash")
        return _failed(f"{what} crashed: its process exited" + ("" if code is None else f" with code {code}"), "crash")


class _Look:
    """A timer that sets itself again for as many seconds as its call returns."""

    __slots__ = ("_call", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, after_s: float, call: Callable[[], float | None]) -> None:
        self._loop, self._call = loop, call
        self._timer = loop.call_later(after_s, self._fire)

    def cancel(self) -> None:
        self._timer.cancel()

    def _fire(self) -> None:
        if (after_s := self._call()) is not None:
            self._timer = self._loop.call_later(after_s, self._fire)


def _failed(message: str, cause: str) -> FailedCallError:
    return FailedCallError("verify_failed", message, cause=cause)
