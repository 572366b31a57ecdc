"""How long `ng_run` takes to be ready, and how much memory its servers need."""

import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.bench import MODEL_CONFIG
from benchmarks.measured import command_of, environment, tree_mb


@dataclass(frozen=True, slots=True)
class Startup:
    """What `ng_run` with a model, an environment and an agent takes.

    Attributes:
        ready_s: Seconds from the command to its line that says that all servers are ready.
        servers_mb: Resident memory of `ng_run` and its servers, in megabytes.
        processes: Their number.
        by_server_mb: Resident memory of each process of servers with all that it started, by instance name.
    """

    ready_s: float
    servers_mb: float
    processes: int
    by_server_mb: dict[str, float]


ONE_ENVIRONMENT = (MODEL_CONFIG, "resources_servers/gsm8k/configs/gsm8k.yaml")


def measure_startup(workdir: Path, rounds: int, configs: Sequence[str] = ONE_ENVIRONMENT) -> Startup:
    """Start `ng_run` with these configuration files several times; the times are medians."""
    runs = [_start_once(workdir, configs) for _ in range(rounds)]
    last = runs[-1]
    return Startup(
        median(run.ready_s for run in runs), median(run.servers_mb for run in runs), last.processes, last.by_server_mb
    )


def _start_once(workdir: Path, configs: Sequence[str]) -> Startup:
    paths = f"+config_paths=[{','.join(configs)}]"
    command = [*command_of("nemo_gym_lite.cli.run"), paths, "+head_server.port=11937"]
    begun = time.perf_counter()
    with subprocess.Popen(
        command, cwd=workdir, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        assert child.stdout is not None
        said = []
        for line in child.stdout:
            said.append(line)
            if "servers ready in" in line:
                break
        else:
            raise RuntimeError(f"ng_run did not come up:\n{''.join(said)}")
        ready_s = time.perf_counter() - begun
        servers_mb, processes = tree_mb(child.pid)
        by_server_mb = {
            _served_by(each): tree_mb(each.pid)[0] for each in psutil.Process(child.pid).children(recursive=False)
        }
        child.send_signal(signal.SIGTERM)
        child.stdout.read()
    return Startup(ready_s, servers_mb, processes, by_server_mb)


def _served_by(process: psutil.Process) -> str:
    """The servers of a process, as its command line names them."""
    names = process.cmdline()[4:]  # after python -P -m MODULE
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
