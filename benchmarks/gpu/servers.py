"""Starts `vllm serve`, once or several times on one machine, and reads what the servers count."""

import json
import re
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gpu.programs import Program, variables
from responses_api_models.local_vllm_model.arguments import words

NAME = "policy"
"""What started servers call the model."""

_POLL_S = 0.25
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def serving(
    python: str, model: str, arguments: Sequence[Mapping[str, Any]], folder: Path, left: Callable[[], float]
) -> Iterator[list[str]]:
    """Servers of one model, one for each of `arguments`; gives their base URLs with `/v1`, and ends them at the end.

    They start one after the other, since each looks at how much memory is free.

    Args:
        python: The Python that has vLLM.
        model: What is served.
        arguments: Arguments of each server.
        folder: Gets their logs.
        left: Seconds that may still be used.

    Raises:
        RuntimeError: One did not start.
    """
    with ExitStack() as stack:
        urls = []
        for number, each in enumerate(arguments, 1):
            port = _free_port()
            command = [python, "-m", "vllm.entrypoints.cli.main", "serve", model, "--host", "127.0.0.1"]
            more = words({"port": port, "served_model_name": NAME, "uvicorn_log_level": "warning", **each})
            server = Program([*command, *more], folder, f"server-{port}", variables())
            stack.callback(server.stop)
            urls.append(f"http://127.0.0.1:{port}/v1")
            _wait(server, urls[-1], left(), f"server {number}")
        yield urls


def _wait(server: Program, url: str, limit_s: float, name: str) -> None:
    give_up_s = time.monotonic() + limit_s
    while True:
        try:
            _get(url.removesuffix("/v1") + "/health")
        except OSError:
            if not server.runs():
                raise RuntimeError(f"{name} did not start: {server.last_lines()}") from None
            if time.monotonic() > give_up_s:
                raise RuntimeError(f"{name} was not ready within {limit_s:.0f} s") from None
            time.sleep(_POLL_S)
        else:
            return


def model_of(url: str) -> str:
    """Name of the model that a server lists first."""
    return str(json.loads(_get(f"{url}/models"))["data"][0]["id"])


class Counters:
    """What servers have counted since the start of the measurement."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._before = self._read()

    def answered(self) -> int:
        """Requests that they finished."""
        return int(self._since("request_success_total"))

    def hit_rate(self) -> float | None:
        """Share of the prompts' tokens that prefix caches held."""
        asked = self._since("prefix_cache_queries_total")
        return self._since("prefix_cache_hits_total") / asked if asked else None

    def _since(self, name: str) -> float:
        return total(self._read(), name) - total(self._before, name)

    def _read(self) -> str:
        return "\n".join(_get(url.removesuffix("/v1") + "/metrics") for url in self._urls)


def total(page: str, name: str) -> float:
    """Sum of all lines of vLLM's metric `name` on pages of metrics."""
    return sum(map(float, re.findall(rf"^vllm:{name}(?:\{{.*\}})? (\S+)$", page, re.MULTILINE)))


def _get(url: str) -> str:
    with _DIRECT.open(url, timeout=10) as reply:
        return str(reply.read().decode())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
