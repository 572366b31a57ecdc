"""Simulated engines as processes of their own, which are killed and come back, and what they counted."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.request import Request, urlopen

import orjson
import psutil

from benchmarks.measured import command_of, environment

Row = tuple[float, int, int]
"""(seconds since the epoch, tokens, status) of one request."""


class EngineProcess:
    """One engine. It keeps its address when it is killed and started again.

    Attributes:
        settings: `EngineSettings` as JSON.
        lives: When each of its lives began and ended, in seconds since the epoch; the end is None while it lives.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.port = 0
        self.lives: list[tuple[float, float | None]] = []
        self._earlier_rows: list[Row] = []
        self._earlier_counts: dict[str, int] = {}
        self._earlier_histories: list[dict[str, list[float]]] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, at the port that it had before; returns when it answers."""
        words = ["--port", str(self.port), "--settings", orjson.dumps(self.settings).decode()]
        command = [*command_of("responses_api_models.simulated_model.serve"), *words]
        self._process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the engine did not start at port {self.port}; its error is above")
        self.port = int(line.split("/v1")[0].rpartition(":")[2])
        self.lives.append((time.time(), None))

    def kill(self) -> None:
        """SIGKILL. What it counted until the moment before is remembered."""
        assert self._process is not None
        self._earlier_rows = self.rows()
        self._earlier_counts = self.counts()
        self._earlier_histories.append(self._history())
        self._process.kill()
        self._gone()

    def stop(self) -> None:
        """End it in peace."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._gone()

    def _gone(self) -> None:
        assert self._process is not None
        self._process.communicate()
        self._process = None
        self.lives[-1] = (self.lives[-1][0], time.time())

    def cpu_s(self) -> float:
        """User and system CPU that it used, in seconds."""
        assert self._process is not None
        used = psutil.Process(self._process.pid).cpu_times()
        return float(used.user + used.system)

    def tell(self, what: str, **settings: Any) -> None:
        """Change `faults`, `limits` or `slots`, or `reset` the counts."""
        self._ask(f"/simulator/{what}", settings)

    def stats(self, tables: str = "") -> dict[str, Any]:
        """Its counts since it was started; `tables` is `?sessions` or `?prompts`."""
        return self._ask(f"/simulator/stats{tables}")

    def counts(self) -> dict[str, int]:
        """Its plain counts over all of its lives."""
        now = {name: value for name, value in self.stats().items() if isinstance(value, int)} if self._process else {}
        return {name: now.get(name, 0) + self._earlier_counts.get(name, 0) for name in now | self._earlier_counts}

    def rows(self) -> list[Row]:
        """Every request that reached it, over all of its lives."""
        asked = self._ask("/simulator/arrivals?window_s=60&rows")["rows"] if self._process else []
        return [*self._earlier_rows, *((when_s, tokens, status) for when_s, tokens, status in asked)]

    def history(self) -> dict[str, list[float]]:
        """Its load over time by column, `epoch_s` among them, over all of its lives; it is zero when one ends."""
        histories = [*self._earlier_histories, *([self._history()] if self._process else [])]
        found: dict[str, list[float]] = {name: [] for name in histories[0]}
        for history, (_, died_s) in zip(histories, self.lives, strict=True):
            for name, column in history.items():
                found[name] += column
                if died_s is not None:
                    found[name].append(died_s if name == "epoch_s" else 0.0)
        return found

    def _history(self) -> dict[str, list[float]]:
        table = self._ask("/simulator/history")
        columns = zip(*table["rows"], strict=True) if table["rows"] else ([] for _ in table["columns"])
        found = {name: list(column) for name, column in zip(table["columns"], columns, strict=True)}
        return {**found, "epoch_s": [table["began_s"] + t_s for t_s in found["t_s"]]}

    def _ask(self, path: str, body: Any = None) -> Any:
        content = None if body is None else orjson.dumps(body)
        with urlopen(Request(self.url + path, content), timeout=60) as reply:
            return orjson.loads(reply.read())


@contextmanager
def engines(count: int = 1, **settings: Any) -> Iterator[list[EngineProcess]]:
    """`count` engines alike, for the length of the block."""
    with ExitStack() as stack:
        yield [stack.enter_context(engine(**settings)) for _ in range(count)]


@contextmanager
def engine(**settings: Any) -> Iterator[EngineProcess]:
    """One engine for the length of the block."""
    made = EngineProcess(**{"prompts_kept": 0, "sessions_kept": 0, **settings})
    made.start()
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            made.stop()
