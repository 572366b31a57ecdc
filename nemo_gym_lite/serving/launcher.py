"""Runs servers as processes: all ready or a clear error, restarted when they crash, never left behind.

    async with Launcher(composed.servers, composed.tree) as launcher:
        ...  # every server answers

1. Inside the block every server has answered `GET /` at least once.
2. A server that dies is started again, a bounded number of times; after that the block is cancelled and
   the `async with` raises `ServerStartError`.
3. However the block ends, no process stays: SIGTERM, then SIGKILL to the whole group. If this process is
   itself killed with SIGKILL, its servers see the end of a pipe and go (`host.py`).
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, cast

import aiohttp
from omegaconf import DictConfig, OmegaConf

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.ports import can_listen
from nemo_gym_lite.config.requirements import check_requirements
from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.child import Show, start_servers
from nemo_gym_lite.serving.isolation import isolated_interpreters
from nemo_gym_lite.serving.kept import Kept, by_process
from nemo_gym_lite.serving.run_files import RunFiles

ANSWER_TIMEOUT_S = 5.0
"""A server that takes longer for `GET /` while it starts is asked again."""


@dataclass(frozen=True, slots=True)
class LaunchPolicy:
    """How patient a launcher is. Times are in seconds."""

    start_s: float = 300.0
    """Until a server must answer; some load data first."""
    poll_s: float = 0.05
    report_s: float = 10.0
    """How often the servers that are not ready yet are named."""
    stop_s: float = 5.0
    """Between SIGTERM and SIGKILL."""
    restarts: int = 5
    """How often a server that keeps crashing is started again."""
    backoff_s: float = 0.5
    """Before the first restart; doubles with each."""
    backoff_cap_s: float = 8.0
    steady_s: float = 60.0
    """A server that was up for so long has its crashes forgiven."""

    def wait_s(self, crashes: int) -> float:
        """Seconds to wait before the restart that follows this many crashes in a row."""
        return min(self.backoff_s * 2.0 ** (crashes - 1), self.backoff_cap_s)


def show_on_stderr(line: str) -> None:
    """Write a line to stderr; a terminal that is gone is no reason to stop."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class Launcher:
    """Starts servers and keeps them running for the length of an `async with` block.

    Args:
        servers: What to start.
        tree: The composed configuration; servers get it resolved, in a private file.
        show: Gets each line of the servers' output and the launcher's own news.
        policy: How patient to be.
    """

    def __init__(
        self,
        servers: Sequence[ServerInstance],
        tree: DictConfig | Mapping[str, Any],
        show: Show = show_on_stderr,
        policy: LaunchPolicy | None = None,
    ) -> None:
        self._servers = servers
        self._kept = [Kept(instances) for instances in by_process(servers)]
        self._tree = tree
        self._show = show
        self._policy = policy or LaunchPolicy()
        self._block: AbstractAsyncContextManager[None]
        self._http: aiohttp.ClientSession
        self._lifeline_fd: int
        self._variables: dict[str, str]
        self._interpreters: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        self._block = self._running()
        await self._block.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> bool | None:
        return await self._block.__aexit__(*exception)

    def records(self) -> list[Json]:
        """What runs where, now."""
        return [record for kept in self._kept for record in kept.records()]

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        if not self._kept:  # nobody reads the files then, and nobody would remove them after a SIGKILL
            yield
            return
        tree = _resolved(self._tree)
        await self._prepare(tree)
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        with RunFiles(tree) as files, _lifeline() as self._lifeline_fd:
            self._variables = files.variables
            async with aiohttp.ClientSession(timeout=timeout) as self._http:
                try:
                    async with asyncio.TaskGroup() as keepers:
                        tasks = [keepers.create_task(self._keep(kept)) for kept in self._kept]
                        await self._until_all_ready()
                        yield
                        for task in tasks:
                            task.cancel()
                except BaseExceptionGroup as group:
                    error = first_cause(group)
                    raise error from error.__cause__
                finally:
                    await self._stop()

    async def _prepare(self, tree: Json) -> None:
        """See to it that every server finds the packages that it asks for."""
        for note in check_requirements(self._servers):
            self._show(f"warning: {note}")
        self._interpreters = await isolated_interpreters(self._servers, tree, self._show)

    async def _until_all_ready(self) -> None:
        while waiting := [each.name for kept in self._kept if not kept.ready.is_set() for each in kept.instances]:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._policy.report_s):
                    for kept in self._kept:
                        await kept.ready.wait()
                return
            up = len(self._servers) - len(waiting)
            self._show(f"{up} / {len(self._servers)} servers ready, waiting for: {', '.join(waiting)}")

    async def _keep(self, kept: Kept) -> None:
        """Run a server, life after life; ends only with `ServerStartError` or by being cancelled."""
        crashes = 0
        while True:
            began = time.monotonic()
            error = await self._live(kept)
            if not kept.ready.is_set():
                raise error  # what fails at the first start would fail again
            crashes = 1 if time.monotonic() - began > self._policy.steady_s else crashes + 1
            if crashes > self._policy.restarts:
                kept.status = "failed"
                text = f"{error.message}; it crashed {crashes} times in a row and is not started again"
                raise ServerStartError(text, error.hint)
            wait_s = self._policy.wait_s(crashes)
            kept.restarts, kept.status = kept.restarts + 1, "restarting"
            self._show(f"{error.message}; restart {crashes} of {self._policy.restarts} in {wait_s:g} s")
            await asyncio.sleep(wait_s)

    async def _live(self, kept: Kept) -> ServerStartError:
        """Start a server and wait until it ends; returns why it did."""
        try:
            await self._start(kept)
        except ServerStartError as error:
            return error
        assert kept.child is not None
        kept.status = "running"
        if kept.restarts:
            self._show(f"{kept.title} is back")
        kept.ready.set()
        await asyncio.wait({kept.child.exited})  # `wait`: whoever cancels us does not cancel the child's own task
        return kept.child.failure()

    async def _start(self, kept: Kept) -> None:
        for instance in kept.instances:
            _check_port(instance)
        kept.started_at = time.time()
        python = self._interpreters.get(kept.instances[0].name, sys.executable)
        kept.child = child = await start_servers(kept.instances, self._variables, self._lifeline_fd, self._show, python)
        own_s = (each.config.get("start_timeout_s") or 0 for each in kept.instances)  # an engine may load for long
        start_s = max(self._policy.start_s, *own_s)
        deadline = time.monotonic() + start_s
        for instance in kept.instances:
            while not await self._answers(instance):
                await asyncio.wait({child.exited}, timeout=self._policy.poll_s)
                if child.exited.done():
                    if not child.told_why:
                        _check_port(instance)  # perhaps taken between our look and the server's
                    raise child.failure()
                if time.monotonic() > deadline:
                    child.kill()
                    await asyncio.wait({child.exited})
                    late = f"did not answer on {instance.url} within {start_s:g} s"
                    raise ServerStartError(f"server {instance.name!r} {late}")

    async def _answers(self, instance: ServerInstance) -> bool:
        try:
            async with self._http.get(instance.url):
                return True
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _stop(self) -> None:
        """End every process; a second cancellation while we wait ends them at once."""
        children = [kept.child for kept in self._kept if kept.child is not None]
        exits = [child.exited for child in children]
        try:
            for child in children:
                child.terminate()
            if exits:
                await asyncio.wait(exits, timeout=self._policy.stop_s)
        finally:
            for child in children:
                child.kill()
        if exits:
            await asyncio.wait(exits)


def _resolved(tree: DictConfig | Mapping[str, Any]) -> Json:
    plain = OmegaConf.to_container(tree, resolve=True) if isinstance(tree, DictConfig) else dict(tree)
    return cast("Json", plain)


@contextmanager
def _lifeline() -> Iterator[int]:
    """The read end of a pipe whose write end is ours alone: it ends when we close it, or when we die."""
    read_fd, write_fd = os.pipe()
    try:
        yield read_fd
    finally:
        os.close(read_fd)
        os.close(write_fd)


def _check_port(instance: ServerInstance) -> None:
    host, port = instance.host, instance.port
    if not can_listen(host, port):
        key = f"{instance.name}.{instance.server_type}.{instance.implementation}.port"
        raise ServerStartError(
            f"server {instance.name!r} cannot listen on {host}:{port}: "
            "the port is in use, or the host is another machine's",
            f"stop what listens there (`ss -ltnp 'sport = :{port}'` names it), or choose `++{key}=`",
        )


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The server's failure if there is one, else what the block itself raised."""
    errors = group.exceptions
    return next((error for error in errors if isinstance(error, ServerStartError)), errors[0])
