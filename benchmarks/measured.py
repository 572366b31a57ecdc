"""Runs a command and measures it with everything that it starts: CPU, wall clock, peak memory."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command used.

    Attributes:
        cpu_s: User and system CPU of the command and of all its children, in seconds.
        wall_s: Seconds from start to end.
        peak_mb: Peak resident memory of its largest process, in megabytes.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Slope:
    """Cost of one rollout, with start and end of the command taken out.

    Attributes:
        cpu_ms: CPU per rollout, in milliseconds.
        per_s: Rollouts per second.
    """

    cpu_ms: float
    per_s: float


def run_measured(command: Sequence[str], workdir: Path) -> Usage:
    """Run a command to its end.

    Raises:
        RuntimeError: It did not end with 0; the text ends with its output.
    """
    log = workdir / "output.log"
    begun = time.perf_counter()
    with log.open("wb") as output:
        child = subprocess.Popen(command, cwd=workdir, env=environment(), stdout=output, stderr=output)
        _, status, used = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}:\n{log.read_text()[-2000:]}")
    return Usage(used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss * 1024 / 1e6)


def slope(few: Usage, few_rows: int, many: Usage, many_rows: int) -> Slope:
    """Cost of a rollout from two runs of different length."""
    rows = many_rows - few_rows
    return Slope((many.cpu_s - few.cpu_s) / rows * 1e3, rows / max(many.wall_s - few.wall_s, 1e-9))


def environment() -> dict[str, str]:
    """The environment of measured commands: as the user's, with this checkout importable."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT)}


def command_of(module: str) -> list[str]:
    """The command line that runs a module of the project."""
    return [sys.executable, "-m", module]


def tree_mb(pid: int) -> tuple[float, int]:
    """Resident megabytes of a process and its descendants, and how many they are; shared pages count each time."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(process.memory_info().rss for process in processes) / 1e6, len(processes)
