"""One replica of the engine: started, watched while it loads, logged, and started again when it dies."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import aiohttp
from yarl import URL

from nemo_gym_lite.config.ports import LOCAL_HOST, can_listen
from nemo_gym_lite.config.roots import INSTALL_ROOT
from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.child import Child
from nemo_gym_lite.serving.launcher import LaunchPolicy
from responses_api_models.local_vllm_model.engine_process import LIFELINE_VARIABLE
from responses_api_models.local_vllm_model.life_signs import until_hung
from responses_api_models.local_vllm_model.progress import Output
from responses_api_models.local_vllm_model.restarts import Restarts

_SCRIPT = Path(__file__).with_name("engine_process.py")

_LABEL = "engine"

KEY_VARIABLE = "VLLM_API_KEY"
"""What vLLM reads its key from; not on the command line, where every user of the machine sees it."""

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Patience(LaunchPolicy):
    """How long a replica is waited for and how often it is started again: as other servers, but longer.

    Times are in seconds.
    """

    start_s: float = 1800.0
    """Until it must be ready; a large checkpoint loads for minutes."""
    poll_s: float = 0.25
    report_s: float = 15.0
    stop_s: float = 4.0
    backoff_s: float = 1.0
    backoff_cap_s: float = 60.0
    steady_s: float = 120.0
    health_timeout_s: float = 5.0
    port_s: float = 8.0
    """Until its port must be free; an engine of an earlier life may be ending."""
    hang_s: float | None = 300.0
    """Without a sign of life, after which it is started again; None lets it hang. vLLM itself gives one step of a
    worker as long."""


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """What one replica is.

    Attributes:
        title: What it is called in messages, such as `replica 1 of 2 of policy_model`.
        command: The program and its arguments.
        variables: Its whole environment.
        url: Where it answers, without `/v1`.
        log: File that gets all that it says.
        folder: Its working folder.
    """

    title: str
    command: Sequence[str]
    variables: Mapping[str, str]
    url: str
    log: Path
    folder: str


class Replica:
    """A replica, life after life.

    Args:
        plan: What it is.
        http: For asking whether it is ready.
        show: Gets lines of news.
        patience: How patient to be.
    """

    def __init__(self, plan: ReplicaPlan, http: aiohttp.ClientSession, show: Show, patience: Patience) -> None:
        self.is_ready = False
        self._plan = plan
        self._http = http
        self._show = show
        self._patience = patience
        self._output = Output()
        self._child: Child | None = None
        self._lifeline_fds: tuple[int, int] | None = None
        self._began = 0.0

    async def start(self) -> None:
        """Start the engine and wait until it is ready.

        Raises:
            ServerStartError: It died first, or takes too long; the message holds its last lines.
        """
        plan, patience = self._plan, self._patience
        self._output, self._began = Output(), time.monotonic()
        await self._until_port_is_free()
        child = self._child = await self._start_process()
        told = self._began
        while not await self._is_healthy():
            await asyncio.wait({child.exited}, timeout=patience.poll_s)
            if child.exited.done():
                raise self._failure(child)
            now = time.monotonic()
            if now - self._began > patience.start_s:
                await self.stop()
                text = f"{plan.title} was not ready within {patience.start_s:g} s, it was {self._output.phase}"
                raise ServerStartError(f"{text}; its last lines ({plan.log}):{self._output.last_lines()}")
            if now - told >= patience.report_s:
                told = now
                self._tell(self._output.phase)
        self.is_ready = True
        self._tell(f"ready at {plan.url}")

    async def keep(self) -> ServerStartError:
        """Start the engine again whenever it dies; returns, with the last failure, when it crashes too often."""
        restarts = Restarts(self._plan.title, self.start, self._show, self._patience)
        while True:
            ready_at = time.monotonic()
            failure = await self._until_down()
            self.is_ready = False
            last = await restarts.after(failure, time.monotonic() - ready_at)
            if last is not None:
                self._show(f"{last.message}\n{restarts.stays_down}")
                return last

    async def _until_down(self) -> ServerStartError:
        """Wait until the engine has died, or end it when it hangs; returns what happened."""
        child, hang_s = self._child, self._patience.hang_s
        assert child is not None
        if hang_s is None:
            await asyncio.wait({child.exited})
            return self._failure(child)
        key = self._plan.variables.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        watching = asyncio.create_task(until_hung(self._plan.url, self._http, headers, hang_s))
        try:
            await asyncio.wait({child.exited, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
        if child.exited.done():
            return self._failure(child)
        what = f"{self._plan.title} hangs: {watching.result()}; it is ended"
        await self.stop()
        hint = "`hang_s` is how long it may be without a sign of life, null lets it hang"
        return ServerStartError(f"{what}{self._last_lines()}", hint)

    async def stop(self) -> None:
        """End the engine with all that it started: SIGTERM first, so that requests in flight are told."""
        child = self._child
        if child is not None:
            child.terminate()
            try:
                await asyncio.wait({child.exited}, timeout=self._patience.stop_s)
            finally:
                child.kill()
            await asyncio.wait({child.exited})
        self._close_lifeline()

    async def _until_port_is_free(self) -> None:
        """Wait for the port, as whatever listens there would be taken for the engine.

        Raises:
            ServerStartError: Somebody else keeps it.
        """
        url = URL(self._plan.url)
        host, port = url.host or LOCAL_HOST, url.port or 0
        while not can_listen(host, port):
            if time.monotonic() - self._began > self._patience.port_s:
                text = f"{self._plan.title} cannot listen on {host}:{port}: the port is in use"
                raise ServerStartError(text, f"stop what listens there (`ss -ltnp 'sport = :{port}'` names it)")
            await asyncio.sleep(self._patience.poll_s)

    async def _start_process(self) -> Child:
        plan = self._plan
        self._close_lifeline()
        self._lifeline_fds = read_fd, _ = os.pipe()
        plan.log.parent.mkdir(parents=True, exist_ok=True)
        log = plan.log.open("a", encoding="utf-8", buffering=1)
        log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {plan.title} starts\n")
        child = await Child.start(
            plan.title,
            _LABEL,
            (str(_SCRIPT), *plan.command),
            lambda line: self._take(line, log),
            variables={**plan.variables, LIFELINE_VARIABLE: str(read_fd)},
            pass_fds=(read_fd,),
            folder=plan.folder,
            python=sys.executable,
        )
        child.exited.add_done_callback(lambda _: log.close())
        return child

    def _take(self, labelled: str, log: TextIO) -> None:
        line = labelled.removeprefix(f"({_LABEL}) ")
        with suppress(OSError, ValueError):  # a full disk, or a log that is closed, must not end the engine
            log.write(f"{line}\n")
        if self._output.take(line) and not self.is_ready:
            self._tell(self._output.phase)

    def _tell(self, news: str) -> None:
        self._show(f"{self._plan.title}: {news} ({time.monotonic() - self._began:.0f} s)")

    def _failure(self, child: Child) -> ServerStartError:
        how = child.failure().message.partition(": ")[0]
        when = "" if self.is_ready else f" while it was {self._output.phase}"
        return ServerStartError(f"{how}{when}{self._last_lines()}", self._output.hint(how))

    def _last_lines(self) -> str:
        lines = self._output.last_lines()
        return f"; its last lines ({self._plan.log}):{lines}" if lines else " without a word"

    async def _is_healthy(self) -> bool:
        timeout = aiohttp.ClientTimeout(total=self._patience.health_timeout_s)
        try:
            async with self._http.get(f"{self._plan.url}/health", timeout=timeout) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _close_lifeline(self) -> None:
        for fd in self._lifeline_fds or ():
            os.close(fd)
        self._lifeline_fds = None


def own_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what was put there to find our own code, with `changes` laid over it.

    An engine may run on another Python, which must not import the packages of this one.
    """
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = os.pathsep.join(path for path in paths if path and Path(path) != INSTALL_ROOT)
    return {**os.environ, "PYTHONPATH": kept, **changes}
