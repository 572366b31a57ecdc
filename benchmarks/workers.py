"""`python -m benchmarks.workers`: rollouts per second with one process and with several, and whose CPU they cost.

Rates and CPU are taken between a fifth and nine tenths of each run, so that neither the start of processes nor the
metrics at the end are in them. The engine is a process of its own on the same cores and takes its part of them; the
last column leaves it out: how many times as fast the same processes are on as many cores, by their CPU, if the engine
is somewhere else, as engines are.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.bench import MODEL_CONFIG, running_engine
from benchmarks.measured import command_of, environment
from benchmarks.rows import write_rows

_SLOW_CHECK = '''"""A check that computes for some milliseconds."""

import time

from nemo_gym_lite.base_resources_server import BaseVerifyRequest, BaseVerifyResponse, SimpleResourcesServer


class SlowCheck(SimpleResourcesServer):
    async def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        ends_s = time.thread_time() + {check_s}
        while time.thread_time() < ends_s:
            pass
        return BaseVerifyResponse(**body.model_dump(), reward=1.0)


if __name__ == "__main__":
    SlowCheck.run_webserver()
'''
_SLOW_CHECK_CONFIG = """
slow_check:
  resources_servers:
    slow_check: {entrypoint: app.py, domain: other, placement: near}
slow_check_simple_agent:
  responses_api_agents:
    simple_agent:
      entrypoint: app.py
      resources_server: {type: resources_servers, name: slow_check}
      model_server: {type: responses_api_models, name: policy_model}
"""
CHECK_S = 0.003
_LOOK_S = 0.05
_FROM, _TO = 0.2, 0.9


@dataclass(frozen=True, slots=True)
class Workload:
    """What is played.

    Attributes:
        title: Its name in the table.
        environment: Which environment.
        rows: How many rows.
    """

    title: str
    environment: str
    rows: int


WORKLOADS = (
    Workload("single turn", "gsm8k", 12_000),
    Workload("two turns, one tool", "simple_weather", 6_000),
    Workload(f"single turn, {1e3 * CHECK_S:g} ms check", "slow_check", 3_000),
)


@dataclass(frozen=True, slots=True)
class Look:
    """A moment of a run: seconds, bytes of output, and CPU seconds of collector, workers and engine."""

    at_s: float
    written: int
    collector_s: float
    workers_s: float
    engine_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run: rollouts per second, and CPU milliseconds per rollout."""

    per_s: float
    collector_ms: float
    workers_ms: float
    engine_ms: float

    @property
    def ours_ms(self) -> float:
        """CPU per rollout without the engine's."""
        return self.collector_ms + self.workers_ms


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind, in turns; medians are shown")
    parser.add_argument("--concurrency", type=int, default=128)
    options = parser.parse_args()
    show(measure(options.workers, options.rounds, options.concurrency), options.workers)
    return 0


class Bench:
    """Plays workloads against one engine.

    Args:
        workdir: An empty folder.
        engine_url: The engine, without `/v1`.
        concurrency: Rollouts in flight.
    """

    def __init__(self, workdir: Path, engine_url: str, concurrency: int) -> None:
        self._workdir = workdir
        self._concurrency = concurrency
        port = int(engine_url.rpartition(":")[2])
        self._engine = psutil.Process(next(_listeners(port)))
        policy = f"policy_base_url: {engine_url}/v1\npolicy_api_key: EMPTY\npolicy_model_name: bench\n"
        (workdir / "env.yaml").write_text(policy)
        code = workdir / "resources_servers/slow_check/app.py"
        (code.parent / "configs").mkdir(parents=True)
        code.write_text(_SLOW_CHECK.format(check_s=CHECK_S))
        (code.parent / "configs/slow_check.yaml").write_text(_SLOW_CHECK_CONFIG)

    def play(self, load: Workload, workers: int) -> Figures:
        """Play a workload once.

        Raises:
            RuntimeError: The command failed, or did not deliver every row.
        """
        tasks, output = self._tasks(load), self._workdir / "rollouts.jsonl"
        for path in self._workdir.glob("rollouts*"):
            path.unlink()
        looks = []
        log = self._workdir / "output.log"
        with log.open("wb") as said:
            child = psutil.Popen(
                self._command(load, tasks, output, workers),
                cwd=self._workdir,
                env=environment(),
                stdout=said,
                stderr=said,
            )
            while child.poll() is None:
                looks.append(self._look(child, output))
                time.sleep(_LOOK_S)
        delivered = output.read_bytes().count(b"\n") if output.exists() else 0
        if child.returncode or delivered != load.rows:
            raise RuntimeError(f"{load.title}: {delivered} of {load.rows} rows\n{log.read_text()[-2000:]}")
        return _figures(looks, output.stat().st_size, load.rows)

    def _look(self, child: psutil.Process, output: Path) -> Look:
        written = output.stat().st_size if output.exists() else 0
        workers = sum(_cpu_s(process) for process in _children(child))
        return Look(time.perf_counter(), written, _cpu_s(child), workers, _cpu_s(self._engine))

    def _tasks(self, load: Workload) -> Path:
        path = self._workdir / f"{load.environment}.jsonl"
        with_tool = load.environment == "simple_weather"
        return path if path.exists() else write_rows(path, load.rows, with_tool=with_tool)

    def _command(self, load: Workload, tasks: Path, output: Path, workers: int) -> list[str]:
        name = load.environment
        return [
            *command_of("nemo_gym_lite.cli.collect_rollouts"),
            f"+config_paths=[{MODEL_CONFIG},resources_servers/{name}/configs/{name}.yaml]",
            f"+agent_name={name}_simple_agent",
            f"+input_jsonl_fpath={tasks}",
            f"+output_jsonl_fpath={output}",
            f"+concurrency={self._concurrency}",
            f"+num_workers={workers}",
            f"++{name}.resources_servers.{name}.placement=near",
        ]


def measure(workers: int, rounds: int, concurrency: int) -> dict[Workload, tuple[Figures, Figures]]:
    """The figures of one process and of several, in turns, so that a busy moment of the machine hits both."""
    measured = {}
    with tempfile.TemporaryDirectory(prefix="ng-workers-") as folder, running_engine() as url:
        bench = Bench(Path(folder), url, concurrency)
        for load in WORKLOADS:
            sys.stderr.write(f"measuring: {load.title}\n")
            runs = [(bench.play(load, 1), bench.play(load, workers)) for _ in range(rounds)]
            measured[load] = middle([one for one, _ in runs]), middle([several for _, several in runs])
    return measured


def middle(runs: list[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(*(median(getattr(run, name) for run in runs) for name in Figures.__slots__))


def elsewhere(one: Figures, several: Figures, workers: int) -> float:
    """How many times as fast as one process workers are on as many cores, if the engine needs none of them."""
    return min(workers * one.ours_ms / several.ours_ms, one.ours_ms / several.collector_ms)


def show(measured: dict[Workload, tuple[Figures, Figures]], workers: int) -> None:
    """Print the table."""
    table = Table("workload", "processes", "rollouts/s", "times one", "collector", "workers", "engine", "elsewhere")
    for load, (one, several) in measured.items():
        for count, each in ((1, one), (workers, several)):
            cpu = (each.collector_ms, each.workers_ms, each.engine_ms)
            table.add_row(
                load.title if each is one else "",
                str(count),
                f"{each.per_s:,.0f}",
                f"{each.per_s / one.per_s:.2f}",
                *(f"{value:.3f} ms" for value in cpu),
                f"{elsewhere(one, each, workers):.2f}" if each is several else "",
            )
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def _figures(looks: list[Look], size: int, rows: int) -> Figures:
    inside = [look for look in looks if _FROM * size <= look.written <= _TO * size]
    first, last = inside[0], inside[-1]
    played = (last.written - first.written) / size * rows
    return Figures(
        played / (last.at_s - first.at_s),
        *(
            1e3 * (getattr(last, name) - getattr(first, name)) / played
            for name in ("collector_s", "workers_s", "engine_s")
        ),
    )


def _cpu_s(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.Error:  # it has just ended
        return 0.0
    return float(used.user + used.system)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:  # it has just ended
        return []


def _listeners(port: int) -> Iterator[int]:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            yield connection.pid


if __name__ == "__main__":
    sys.exit(main())
