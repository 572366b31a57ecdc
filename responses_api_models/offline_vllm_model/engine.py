"""vLLM in this process: loaded, kept alive, and asked through the app of `vllm serve`, without a server or a port."""

import asyncio
import importlib.util
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from starlette.types import ASGIApp, Message, Receive, Scope

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError, OutputError, ServerStartError
from nemo_gym_lite.serving.asgi import AppReply, reply_of
from nemo_gym_lite.serving.launcher import first_cause
from responses_api_models.local_vllm_model.log_file import claim_log
from responses_api_models.local_vllm_model.progress import Output
from responses_api_models.local_vllm_model.replica import Patience
from responses_api_models.local_vllm_model.restarts import Restarts
from responses_api_models.offline_vllm_model.life import Life

Show = Callable[[str], None]

_LOOK_S = 0.25
"""Time from one look at the engine to the next."""

_HEADERS = [(b"host", b"offline"), (b"content-type", b"application/json")]


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """What the engine is.

    Attributes:
        name: The model's instance name.
        arguments: Arguments of `vllm serve` by name.
        variables: Environment variables, set in this process, where vLLM reads them.
        log: File that gets all that vLLM says; one beside it while another run in the same folder writes there.
    """

    name: str
    arguments: Json
    variables: Mapping[str, str]
    log: Path


class InProcessEngine:
    """The engine, life after life, for the length of an `async with` block.

    Args:
        plan: What it is.
        show: Gets lines of news.
        patience: How patient to be while it loads, and how often it is started again.
    """

    def __init__(self, plan: EnginePlan, show: Show, patience: Patience) -> None:
        self.base_url = f"offline:{plan.name}"
        self._plan, self._show, self._patience = plan, show, patience
        self._title = f"engine of {plan.name}"
        self._life: Life | None = None
        self._engine: Any = None
        self._app: ASGIApp | None = None
        self._output = Output()
        self._log, self._heard_bytes = plan.log, 0
        self._leaving: set[asyncio.Task[AppReply]] = set()
        self._block: AbstractAsyncContextManager[None]

    async def __aenter__(self) -> Self:
        """Load the model.

        Raises:
            ConfigError: There is no vLLM, or it does not take the arguments.
            OutputError: Its log cannot be written.
            ServerStartError: The engine did not start; the message holds its last lines.
        """
        self._block = self._running()
        await self._block.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> bool | None:
        return await self._block.__aexit__(*exception)

    @property
    def is_up(self) -> bool:
        """Whether it can be asked now."""
        return self._app is not None and not self._engine.errored

    async def ask(self, path: str, body: bytes, session_id: str, method: str = "POST") -> AppReply:
        """Ask the app, as a request to the server would; only while `is_up`."""
        assert self._app is not None
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [*_HEADERS, (b"x-session-id", session_id.encode())],
            "client": ("offline", 0),
            "server": ("offline", 0),
            "state": {},
        }
        left = asyncio.Event()
        answering = asyncio.create_task(reply_of(self._app, scope, body, _receive(body, left)))
        try:
            return await asyncio.shield(answering)
        except asyncio.CancelledError:  # told as by a connection that ends, upon which vLLM stops writing
            left.set()
            self._leaving.add(answering)
            answering.add_done_callback(self._forget)
            raise

    def _forget(self, answering: "asyncio.Task[AppReply]") -> None:
        self._leaving.discard(answering)
        if not answering.cancelled():
            answering.exception()  # nobody waits for it

    async def page(self) -> bytes:
        """vLLM's metrics; empty while it is down."""
        if not self.is_up:
            return b""
        return (await self.ask("/metrics", b"", "", "GET")).body

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        _refuse_without_vllm()
        os.environ.update(self._plan.variables)
        try:
            self._begin_log()
        except OSError as cause:
            raise OutputError(
                f"cannot write the log of {self._title}, {self._plan.log}: {cause.strerror}",
                "make room there, or give the model another folder with log_dir",
            ) from cause
        try:
            await self._start()
            async with asyncio.TaskGroup() as group:
                keeper = group.create_task(self._keep())
                yield
                keeper.cancel()
        except BaseExceptionGroup as group:
            error = first_cause(group)
            raise error from error.__cause__
        finally:
            await self._end()

    async def _start(self) -> None:
        """Begin a life and wait until it can be asked."""
        self._output, began_s = Output(), time.monotonic()
        self._life = life = Life(self._plan.arguments, self._log)
        life.start()
        told_s = began_s
        while not life.born.done():
            await asyncio.wait({life.born}, timeout=_LOOK_S)
            now_s = time.monotonic()
            if self._listen() or now_s - told_s >= self._patience.report_s:
                told_s = now_s
                self._show(f"{self._title}: {self._output.phase} ({now_s - began_s:.0f} s)")
            if now_s - began_s > self._patience.start_s and not life.born.done():
                late = f"was not ready within {self._patience.start_s:g} s, it was {self._output.phase}"
                raise self._failure(late)
        try:
            engine, make_app = life.born.result()
            async with asyncio.timeout(self._patience.start_s):
                app = await make_app()
        except ConfigError:
            raise
        except Exception as error:  # vLLM raises what it likes
            self._listen()
            raise self._failure(f"did not start: {str(error) or type(error).__name__}") from error
        self._engine, self._app = engine, app
        self._show(f"{self._title}: ready ({time.monotonic() - began_s:.0f} s)")

    async def _keep(self) -> None:
        """Start the engine again whenever it dies.

        Raises:
            ServerStartError: It crashes too often.
        """
        restarts = Restarts(self._title, self._start_anew, self._show, self._patience)
        ready_s = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            if self.is_up:
                continue
            self._listen()
            failure = self._failure("died")
            await self._end()
            last = await restarts.after(failure, time.monotonic() - ready_s)
            if last is not None:
                raise ServerStartError(f"{last.message}\n{restarts.stays_down}", last.hint)
            ready_s = time.monotonic()

    async def _start_anew(self) -> None:
        try:
            await self._start()
        except ServerStartError:
            await self._end()
            raise

    async def _end(self) -> None:
        self._app = self._engine = None
        if self._life is not None:
            await self._life.end()
        self._life = None  # not before: who is cancelled here ends it once more

    def _failure(self, what: str) -> ServerStartError:
        lines = self._output.last_lines()
        said = f"; its last lines ({self._log}):{lines}" if lines else ""
        return ServerStartError(f"{self._title} {what}{said}", self._output.hint(what))

    def _begin_log(self) -> None:
        self._log = claim_log(self._plan.log, f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {self._title} starts")
        if "VLLM_LOGGING_CONFIG_PATH" not in os.environ:
            settings = self._log.with_suffix(".logging.json")
            settings.write_text(json.dumps(_logging_to(self._log)))
            os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(settings)

    def _listen(self) -> bool:
        """Take what is new in the log; returns whether the phase has changed."""
        with suppress(OSError), self._log.open("rb") as log:
            log.seek(self._heard_bytes)
            new, newline, _ = log.read().rpartition(b"\n")
            self._heard_bytes += len(new) + len(newline)
            news = [self._output.take(line) for line in new.decode(errors="replace").splitlines()]
            return any(news)
        return False


def _refuse_without_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "offline_vllm_model runs the engine in this process, and this Python has no vLLM",
            "pip install vllm, run the command with a Python that has it, or use local_vllm_model",
        )


def _receive(body: bytes, left: asyncio.Event) -> Receive:
    """A `receive` that gives `body` and then, as soon as whoever asks has left, the end of the connection."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await left.wait()
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _logging_to(log: Path) -> Json:
    """How vLLM's logger, here and in the engine's processes, writes to the log."""
    line = "(%(processName)s pid=%(process)d) %(levelname)s %(asctime)s [%(filename)s:%(lineno)d] %(message)s"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": line}},
        "handlers": {"log": {"class": "logging.FileHandler", "filename": str(log), "formatter": "line"}},
        "loggers": {"vllm": {"handlers": ["log"], "level": "INFO", "propagate": False}},
    }
