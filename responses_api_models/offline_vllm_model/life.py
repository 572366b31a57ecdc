"""One life of the engine: a thread that makes it, keeps it, and ends it.

It is one and the same thread from beginning to end, because the system ends the engine's processes with the thread
that made them.
"""

import asyncio
import gc
import importlib
import multiprocessing
import multiprocessing.spawn
import os
import shlex
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

Born = tuple[Any, Callable[[], Awaitable[ASGIApp]]]

_CHILD = Path(__file__).with_name("engine_child.py")

_STOP_S = 8.0
"""Seconds until an engine that was asked to end is killed, and until one that was killed is given up."""

_LOOK_S = 0.1
"""Time from one look at what is left of it to the next."""

_BEGIN_S = 5.0
"""Seconds until a process that was started has read what starts it, at the latest."""


class Life(threading.Thread):
    """One life.

    Args:
        arguments: Arguments of `vllm serve` by name.
        log: File that gets all that the engine's processes say.

    Attributes:
        born: The engine and what makes its app, when it has loaded; else why it has not.
    """

    def __init__(self, arguments: Mapping[str, Any], log: Path) -> None:
        super().__init__(name="vllm engine", daemon=True)
        self._loop = asyncio.get_running_loop()
        self.born: asyncio.Future[Born] = self._loop.create_future()
        self._gone = asyncio.Event()
        self._over = threading.Event()
        self._arguments, self._log = arguments, log
        self._strangers = {child.pid for child in multiprocessing.active_children()}

    def run(self) -> None:
        """Live; called by the thread."""
        try:
            parts: Any = importlib.import_module("responses_api_models.offline_vllm_model.vllm_parts")
            args = parts.read_arguments(self._arguments)
            with _children_begin_with(_CHILD, self._log):
                if self._over.is_set():
                    raise InterruptedError
                engine = parts.make_engine(args)
        except BaseException as error:  # whatever it was, whoever waits has to know
            self._tell(self._fail, error)
        else:
            self._tell(self._succeed, (engine, partial(parts.make_app, engine, args)))
            self._over.wait()
            with suppress(Exception):  # an engine that is dead has nothing left to end
                engine.shutdown()
            del engine
            gc.collect()  # or its destructor runs when the interpreter has ended, and complains
        self._tell(self._gone.set)

    async def end(self) -> None:
        """End the engine, and with it its processes; one that is still loading is not waited for."""
        patience_s = _STOP_S if self.born.done() else 0.0
        self.born = self._loop.create_future()  # lets go of the engine
        self._over.set()
        began_s = time.monotonic()
        try:
            while not self._gone.is_set() and time.monotonic() < began_s + 2 * _STOP_S:
                if time.monotonic() >= began_s + patience_s:
                    self._kill()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._gone.wait()
        finally:
            self._kill()

    def _kill(self) -> None:
        """SIGKILL to the engine's processes: those children that are sessions of their own."""
        for child in multiprocessing.active_children():
            with suppress(ProcessLookupError):
                if child.pid is not None and child.pid not in self._strangers and os.getsid(child.pid) == child.pid:
                    os.killpg(child.pid, signal.SIGKILL)

    def _tell(self, callback: Any, *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _succeed(self, result: Born) -> None:
        if not self._over.is_set():  # else nobody waits any more
            self.born.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self._over.is_set():
            self.born.set_exception(error)


@contextmanager
def _children_begin_with(script: Path, log: Path) -> Iterator[None]:
    """Let processes that `multiprocessing` spawns meanwhile begin with a script of ours, and write to the log."""
    before = multiprocessing.spawn.get_executable()
    with tempfile.TemporaryDirectory(prefix=".starting_", dir=log.parent) as folder:
        try:
            # its tracker is the collector's, and stays when the engine ends
            tracker = _starter(Path(folder, "tracker"), [sys.executable], f"2>>{shlex.quote(str(log))}")
            multiprocessing.spawn.set_executable(tracker)
            resource_tracker.ensure_running()  # which unblocks Ctrl-C
            _until_begun(getattr(resource_tracker._resource_tracker, "_pid", None), tracker)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit it: it is for the collector
            words = [sys.executable, "-I", "-S", str(script), str(log), str(os.getpid()), sys.executable]
            multiprocessing.spawn.set_executable(_starter(Path(folder, "engine"), words))
            yield
        finally:
            multiprocessing.spawn.set_executable(before)


def _until_begun(pid: int | None, starter: str) -> None:
    """Wait until a process has read its starter, which may then go; for a moment at most."""
    end_s = time.monotonic() + _BEGIN_S
    with suppress(OSError):  # it is gone, or there is no /proc
        while starter.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and time.monotonic() < end_s:
            time.sleep(0.005)


def _starter(path: Path, words: Sequence[str], redirection: str = "") -> str:
    """Write a program that is `words` with its own arguments after them."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@" {redirection}\n')
    path.chmod(stat.S_IRWXU)
    return str(path)
