"""How long `ng_run` takes to be ready with three servers, and how much memory they need."""

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.bench import MODEL_CONFIG
from benchmarks.measured import command_of, environment, tree_mb


@dataclass(frozen=True, slots=True)
class Startup:
    """What `ng_run` with a model, an environment and an agent takes.

    Attributes:
        ready_s: Seconds from the command to its line that says that all servers are ready.
        servers_mb: Resident memory of `ng_run` and its servers, in megabytes.
        processes: Their number.
    """

    ready_s: float
    servers_mb: float
    processes: int


def measure_startup(workdir: Path, rounds: int) -> Startup:
    """Start `ng_run` several times; the times are medians."""
    runs = [_start_once(workdir) for _ in range(rounds)]
    return Startup(median(run.ready_s for run in runs), median(run.servers_mb for run in runs), runs[-1].processes)


def _start_once(workdir: Path) -> Startup:
    paths = f"+config_paths=[{MODEL_CONFIG},resources_servers/gsm8k/configs/gsm8k.yaml]"
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
        child.send_signal(signal.SIGTERM)
        child.stdout.read()
    return Startup(ready_s, servers_mb, processes)
