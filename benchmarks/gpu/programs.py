"""Runs programs that hold GPUs, each in a process group of its own that ends with this process, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.measured import ROOT
from responses_api_models.local_vllm_model import engine_process

STOP_S = 30.0
"""Seconds between SIGTERM and SIGKILL."""

_POLL_S = 0.05
_LAST_LINES = 12


class Program:
    """A program that runs.

    Args:
        words: Its command line.
        folder: Its working folder, which gets its log.
        name: Names the log file.
        variables: Its environment.
    """

    def __init__(self, words: Sequence[str], folder: Path, name: str, variables: Mapping[str, str]) -> None:
        self.log = folder / f"{name}.log"
        read_fd, self._lifeline_fd = os.pipe()
        try:
            with self.log.open("wb") as log:
                self._child = subprocess.Popen(
                    [sys.executable, engine_process.__file__, *words],
                    cwd=folder,
                    env={**variables, engine_process.LIFELINE_VARIABLE: str(read_fd)},
                    pass_fds=(read_fd,),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        finally:
            os.close(read_fd)
        self._cpu_s: float | None = None

    def runs(self) -> bool:
        """Whether it has not ended."""
        if self._cpu_s is None:
            pid, status, used = os.wait4(self._child.pid, os.WNOHANG)
            if pid:
                self._child.returncode = os.waitstatus_to_exitcode(status)
                self._cpu_s = used.ru_utime + used.ru_stime
        return self._cpu_s is None

    def end(self, limit_s: float) -> float:
        """Wait for its end; returns the CPU of everything that it started and waited for, in seconds.

        Raises:
            RuntimeError: It did not end with 0, or not within `limit_s`.
        """
        give_up_s = time.monotonic() + limit_s
        while self.runs():
            if time.monotonic() > give_up_s:
                self.stop()
                raise RuntimeError(f"not finished within {limit_s:.0f} s")
            time.sleep(_POLL_S)
        self._close()
        if self._child.returncode:
            raise RuntimeError(f"ended with {self._child.returncode}: {self.last_lines()}")
        assert self._cpu_s is not None
        return self._cpu_s

    def stop(self) -> None:
        """End it and all that it started."""
        give_up_s = time.monotonic() + STOP_S
        if self.runs():
            self._child.terminate()
        while self.runs():
            if time.monotonic() > give_up_s:
                os.killpg(self._child.pid, signal.SIGKILL)
            time.sleep(_POLL_S)
        self._close()

    def last_lines(self) -> str:
        """The end of its log, in one line."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        told = [line for line in lines if "Error" in line or line.startswith("error")] or lines
        return " / ".join(told[-_LAST_LINES:][-2:])

    def _close(self) -> None:
        with suppress(ProcessLookupError):  # nothing that it started is left
            os.killpg(self._child.pid, signal.SIGKILL)
        if self._lifeline_fd >= 0:
            os.close(self._lifeline_fd)
            self._lifeline_fd = -1


def variables() -> dict[str, str]:
    """The environment of what is started: the user's, with this checkout importable besides what is already."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(ROOT), *filter(None, kept.get("PYTHONPATH", "").split(os.pathsep))]
    return {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", **kept, "PYTHONPATH": os.pathsep.join(paths)}
