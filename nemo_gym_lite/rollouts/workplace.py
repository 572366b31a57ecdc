"""One worker's place in a crew, which is kept over its lives: a process, and the wire to it."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.rollouts.wire import Outbox, Wire
from nemo_gym_lite.serving.child import Child, Show

_LAST_WORDS_S = 5.0
"""Seconds until what a worker sent before it died must be read, and until a worker that was told to end must have."""


class Workplace:
    """Where a worker works, one life after the other.

    Args:
        number: Its number, from 1.
        take: Called with this place, head and rest of every message.

    Attributes:
        vitals: What the worker last told of itself.
        was_ready: Whether the present or last life came as far as that.
        has_delivered: Whether it brought a line.
        silent_s: Seconds since it last said anything, as counted by the crew.
    """

    def __init__(self, number: int, take: Callable[["Workplace", Json, memoryview], None]) -> None:
        self.number = number
        self.vitals = Vitals()
        self.was_ready = self.has_delivered = False
        self.silent_s = 0.0
        self._child: Child | None = None
        self._ending = False
        self._take_message = take
        self._wire: Wire | None = None
        self._plays: list[list[Any]] = []
        self._cancels: list[int] = []
        self._outbox = Outbox(self._send)

    async def live(self, setup: bytes, show: Show) -> ServerStartError:
        """Start the process and wait until it is gone and all that it sent is taken; returns how it ended.

        Raises:
            ServerStartError: The system makes no more processes.
        """
        self.was_ready, self.has_delivered, self.silent_s = False, False, 0.0
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_unix_connection(lambda: Wire(self._take), sock=ours)
        try:
            with theirs:
                self._child = child = await self._start(theirs.fileno(), show)
            if self._ending:
                child.kill()
            self._wire = wire
            wire.send({"begin": True}, [setup])
            await asyncio.wait({child.exited})  # `wait`: whoever cancels us does not cancel the child's own task
            await asyncio.wait({wire.lost}, timeout=_LAST_WORDS_S)
        finally:
            wire.close()
            self._wire = None
            self._plays, self._cancels = [], []
        return child.failure()

    def hand(self, entry: list[Any]) -> None:
        """Have a rollout played."""
        self._plays.append(entry)
        self._outbox.mark()

    def cancel(self, number: int) -> None:
        """Have a rollout given up."""
        self._cancels.append(number)
        self._outbox.mark()

    def signal(self, number: int) -> None:
        """Send the process a signal, if there is one."""
        if self._child is not None and not self._child.exited.done():
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, number)

    async def end(self) -> None:
        """Ask the process to end, and end it if it does not."""
        self._ending = True
        if self._child is not None and not self._child.exited.done():
            if self._wire is not None:
                self._wire.send({"end": True})
            await asyncio.wait({self._child.exited}, timeout=_LAST_WORDS_S)
            self._child.kill()
            await asyncio.wait({self._child.exited})

    async def _start(self, fd: int, show: Show) -> Child:
        title, command = f"worker {self.number}", ("-m", "nemo_gym_lite.rollouts.worker", str(fd))
        return await Child.start(title, title, command, show, variables={}, pass_fds=(fd,))

    def _take(self, head: Json, rest: memoryview) -> None:
        self.silent_s = 0.0
        self._take_message(self, head, rest)

    def _send(self) -> None:
        if self._wire is not None:
            plays, cancels, self._plays, self._cancels = self._plays, self._cancels, [], []
            self._wire.send({"play": plays, "cancel": cancels})
