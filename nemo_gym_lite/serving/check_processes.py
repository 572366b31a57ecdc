"""The processes of a check pool, seen from the process that asks: a template, and the checkers that it forks.

The template (`check_host`) loads the environment once. A checker is a copy of it, made in milliseconds, that scores
one row at a time, so that killing it costs no more than that row.
"""

import asyncio
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Self

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.roots import INSTALL_ROOT
from nemo_gym_lite.errors import FailedCallError

ORDER = struct.Struct("!I")
"""Before the template's order: length in bytes."""

HELLO = struct.Struct("!I")
"""What a checker sends first: its process id."""

ASKED = struct.Struct("!I?")
"""Before a row: its length in bytes, and whether the reply may leave out the echo of the request."""

ANSWERED = struct.Struct("!IH?")
"""Before a reply: its length in bytes, its HTTP status, and whether it is the process's last."""

OUT_OF_MEMORY = 507
"""Status of a check that asked for more memory than it may have."""

Answer = tuple[int, bytes]
"""Status and body, as a server would reply them."""

_LOAD_S = 600.0
"""Seconds that an environment may take to load."""

_FORK_S = 60.0
"""Seconds until a copy must have said hello; one may hang that was made while another thread held a lock."""

_END_S = 5.0
"""Seconds that a template gets to end its checkers and itself."""

_REPORT_S = 1.0
"""Seconds to wait for the template's word on how a checker ended."""

_SLOW_NICENESS = 10


class Checker(asyncio.Protocol):
    """One process that checks.

    Attributes:
        pid: Process id, which is also its process group's; 0 until it said hello.
        retires: Whether it has given its last answer, because it has grown.
        slow: Whether its check was moved out of the way of the others.
        overran: Whether it was killed because its check took too long.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pid = 0
        self.retires = self.slow = self.overran = False
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._transport: asyncio.WriteTransport
        self._answer: asyncio.Future[Answer | None] | None = None
        self._read = bytearray()

    def ask(self, row: bytes, delta: bool) -> "asyncio.Future[Answer | None]":
        """Send a row; the future ends with the reply, or None if the process ended before."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.writelines([ASKED.pack(len(row), delta), row])
        if self.gone.done():
            self._answer.set_result(None)
        return self._answer

    def slow_down(self) -> None:
        """Let others go first from now on."""
        self.slow = True
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PGRP, self.pid, _SLOW_NICENESS)

    def overrun(self) -> None:
        """End a check that takes too long."""
        self.overran = True
        self.kill()

    def kill(self) -> None:
        """End the process and all that it started, now."""
        if self.pid and not self.gone.done():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def ending(self) -> int | None:
        """How the process ended: its exit code, or minus the number of the signal; None if nobody knows."""
        try:
            async with asyncio.timeout(_REPORT_S):
                return await asyncio.shield(self.ended)
        except TimeoutError:
            return None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the process."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take part of the hello or of a reply."""
        self._read += data
        if not self.pid:
            if len(self._read) >= HELLO.size:
                (self.pid,) = HELLO.unpack_from(self._read)
                del self._read[: HELLO.size]
                self.ready.set_result(True)
            return
        if len(self._read) < ANSWERED.size:
            return
        length, status, retires = ANSWERED.unpack_from(self._read)
        if len(self._read) >= ANSWERED.size + length:
            body = bytes(memoryview(self._read)[ANSWERED.size :])
            self._read.clear()
            self.retires = retires
            if self._answer is not None and not self._answer.done():
                self._answer.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """The process ended, however it did."""
        self.gone.set_result(None)
        if not self.ready.done():
            self.ready.set_result(False)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def close(self) -> None:
        """Let go of the process, which ends by itself when it is idle."""
        self._transport.close()


class Template:
    """The process that forks checkers. `start` makes one.

    Attributes:
        pid: Process id.
        gone: Whether it ended.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        orders: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.pid = process.pid
        self.gone = False
        self._process = process
        self._orders = orders
        self._reader = reader
        self._writer = writer
        self._checkers: dict[int, Checker] = {}
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, name: str, order: Json) -> Self:
        """Start the process and wait until it has loaded the environment.

        Args:
            name: The environment's instance; on the command line, for people.
            order: What to load and what its copies may use; see `check_host`. Secrets in it are seen by nobody else.

        Raises:
            FailedCallError: `verify_failed`: it cannot be started or cannot load the environment.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await _started(name, theirs)
        except BaseException:  # whatever it was, a cancellation too
            ours.close()
            raise
        orders = ours.dup()  # descriptors are sent beside the stream, which has its own hold on the socket
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        template = cls(process, orders, reader, writer)
        try:
            data = orjson.dumps(order, default=str, option=orjson.OPT_NON_STR_KEYS)
            writer.writelines([ORDER.pack(len(data)), data])
            async with asyncio.timeout(_LOAD_S):
                report = orjson.loads(await reader.readline() or b"{}")
        except TimeoutError:
            report = {"error": f"it did not load within {_LOAD_S:g} s"}
        except BaseException:  # whatever it was, the process must not stay
            await template.close()
            raise
        if not report.get("ready"):
            await template.close()
            why = report.get("error") or f"its process exited with code {process.returncode}"
            raise FailedCallError("verify_failed", f"cannot check with {name}: {why}", report.get("hint", ""))
        template._listening = asyncio.create_task(template._listen())
        return template

    async def fork(self) -> Checker:
        """Make a checker.

        Raises:
            FailedCallError: `verify_failed`: there is no process to be had.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._orders, [b"+"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise FailedCallError("verify_failed", f"no process for checks can be started: {error}") from error
        _, checker = await asyncio.get_running_loop().create_unix_connection(Checker, sock=ours)
        ready = False
        try:
            async with asyncio.timeout(_FORK_S):
                ready = await checker.ready
        except TimeoutError as error:
            raise FailedCallError("verify_failed", "no process for checks can be started: the new one hangs") from error
        finally:
            if not ready:
                checker.close()
        if not ready:
            raise FailedCallError("verify_failed", "no process for checks can be started: the new one ended at once")
        self._checkers[checker.pid] = checker
        return checker

    async def close(self) -> None:
        """End the process, which ends all its checkers, whatever they do."""
        self.gone = True
        self._orders.close()
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        """Hear from the template how checkers ended."""
        with suppress(ConnectionError):
            while line := await self._reader.readline():
                report = orjson.loads(line)
                checker = self._checkers.pop(report["pid"], None)
                if checker is not None and not checker.ended.done():
                    checker.ended.set_result(report["code"])
        self.gone = True


async def _started(name: str, theirs: socket.socket) -> asyncio.subprocess.Process:
    python_path = os.pathsep.join(filter(None, [str(INSTALL_ROOT), os.environ.get("PYTHONPATH", "")]))
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "nemo_gym_lite.serving.check_host", str(theirs.fileno()), name),
            env={**os.environ, "PYTHONPATH": python_path, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    except OSError as error:
        raise FailedCallError("verify_failed", f"no process for checks can be started: {error}") from error
