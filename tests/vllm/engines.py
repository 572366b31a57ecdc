"""Real vLLM servers: each a process group of its own, on a port of its own, with a count of what reaches it."""

import collections
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import psutil

VENV = Path(os.environ.get("VLLM_VENV", ".venv-vllm")).absolute()
MODEL = VENV / "tiny-model"
NAME = "tiny"
CONTEXT_TOKENS = 2048
START_S = 400.0
STOP_S = 20.0
HELPERS_S = 5.0

FLAGS = [
    *("--served-model-name", NAME, "--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", "64"),
    *("--dtype", "float32", "--enforce-eager", "--kv-cache-memory-bytes", str(64 * 2**20), "--block-size", "32"),
    # calls that the environments can run, from a model that knows nothing
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--tool-strict-level", "parameter"),
    # a model that thinks when it is asked to
    *("--reasoning-parser", "qwen3", "--default-chat-template-kwargs", '{"enable_thinking": false}'),
    *("--logits-processors", "scripted_lp:Scripted", "--middleware", "request_log.RequestLog"),
]
ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parent.absolute()),
    "TORCHDYNAMO_DISABLE": "1",  # or it compiles C++ in the middle of a request
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
NOT_INHERITED = {"VLLM_CPU_KVCACHE_SPACE", "PYTHONDONTWRITEBYTECODE"}


class Engine:
    """One `vllm serve` with the tiny model."""

    def __init__(self, name: str, folder: Path, flags: Sequence[str] = FLAGS) -> None:
        self._flags = flags
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        folder.mkdir(exist_ok=True)
        self.log = folder / f"{name}.log"
        self.log.write_text("")
        self._requests = folder / f"{name}.requests"
        self._process: subprocess.Popen[bytes] | None = None
        self._completed_before = 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [VENV / "bin/vllm", "serve", MODEL, "--host", "127.0.0.1", "--port", str(self.port), *self._flags],
                env={**inherited, **ENVIRONMENT, "VLLM_REQUEST_LOG": str(self._requests)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_healthy(self) -> bool:
        try:
            self._get("/health")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.is_healthy():
            assert self.alive, f"vLLM ended while it started; see {self.log}"
            assert time.monotonic() < deadline, f"vLLM was not ready in {START_S:g} s; see {self.log}"
            time.sleep(0.25)

    def stop(self) -> None:
        """End the server and all that it started."""
        if self._process is None:
            return
        if self.alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
                self._wait_for_the_others()
        self.kill()

    def kill(self) -> None:
        """SIGKILL to every process of the server at once."""
        with contextlib.suppress(ProcessLookupError):  # nothing is left of it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill_model(self) -> None:
        """SIGKILL to the processes that hold the model; the one that answers HTTP lives on for some seconds."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        models = [child for child in children if child.name().startswith("VLLM::")]
        assert models, children
        for child in models:
            with contextlib.suppress(psutil.NoSuchProcess):  # they go together
                child.kill()

    def _wait_for_the_others(self) -> None:
        """Give the server's helpers a moment: one of them frees the shared memory, and is the last to go."""
        deadline = time.monotonic() + HELPERS_S
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.killpg(self._process.pid, 0)
                time.sleep(0.05)

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def forget(self) -> None:
        """Count from here."""
        self._requests.write_text("")
        self._completed_before = self._completed()

    def sessions(self) -> collections.Counter[str]:
        """Number of requests of each session, as the `X-Session-ID` of those that arrived says."""
        return collections.Counter(line.split()[0] for line in self._requests.read_text().splitlines())

    def paths(self) -> set[str]:
        """The paths that requests came for."""
        return {line.split()[1] for line in self._requests.read_text().splitlines()}

    def completed(self) -> int:
        """Requests that the server itself counts as done."""
        return self._completed() - self._completed_before

    def _completed(self) -> int:
        page = self._get("/metrics")
        return int(sum(map(float, re.findall(r"^vllm:request_success_total\{.*\} (\S+)$", page, re.MULTILINE))))

    def _get(self, path: str) -> str:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
            return reply.read().decode()
