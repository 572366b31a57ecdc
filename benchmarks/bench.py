"""A place to measure in: an engine of its own process, rows, and the commands that play them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

import orjson

from benchmarks.measured import Slope, Usage, command_of, environment, run_measured, slope
from benchmarks.rows import write_rows

_CONFIGS = {
    "gsm8k": "resources_servers/gsm8k/configs/gsm8k.yaml",
    "simple_weather": "resources_servers/simple_weather/configs/simple_weather.yaml",
}
MODEL_CONFIG = "responses_api_models/vllm_model/configs/vllm_model.yaml"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way of playing.

    Attributes:
        title: Its name in the table.
        bar_ms: CPU per rollout that must be met, in milliseconds; None for the yardstick.
        stretch_ms: CPU per rollout that we hope for.
        environment: Which environment's rows are played.
        resources: `near` or `far`; None plays the bare loop.
        model: `near` or `far`.
        concurrency: Rollouts in flight.
    """

    title: str
    bar_ms: float | None = None
    stretch_ms: float | None = None
    environment: str = "gsm8k"
    resources: str | None = None
    model: str = "near"
    concurrency: int = 100

    @property
    def calls_per_rollout(self) -> int:
        """Model calls of one rollout."""
        return 2 if self.environment == "simple_weather" else 1


class Bench:
    """Plays scenarios against one engine.

    Args:
        workdir: An empty folder; it gets `env.yaml`, rows and results.
        engine_url: The engine, without `/v1`.
    """

    def __init__(self, workdir: Path, engine_url: str) -> None:
        self.workdir = workdir
        self._engine_url = engine_url
        policy = f"policy_base_url: {engine_url}/v1\npolicy_api_key: EMPTY\npolicy_model_name: bench\n"
        (workdir / "env.yaml").write_text(policy)

    def measure(self, scenario: Scenario, rows: int, rounds: int) -> Slope:
        """Cost of one rollout: the median of `rounds` pairs of a short and a long run."""
        few = max(rows // 10, 1)
        slopes = []
        for _ in range(rounds):
            short, long = self.play(scenario, few), self.play(scenario, rows)
            slopes.append(slope(short, few, long, rows))
        return Slope(median(each.cpu_ms for each in slopes), median(each.per_s for each in slopes))

    def play(self, scenario: Scenario, rows: int) -> Usage:
        """Play `rows` rows in a process of its own.

        Raises:
            RuntimeError: Not every row was delivered by exactly the model calls that it takes.
        """
        tasks, results = self._rows(scenario.environment, rows), self.workdir / "results.jsonl"
        for path in self.workdir.glob("results*"):
            path.unlink()
        self._count(reset=True)
        usage = run_measured(self._command(scenario, tasks, results, rows), self.workdir)
        with results.open("rb") as lines:
            delivered = sum(1 for _ in lines)
        calls = self._count()
        if delivered != rows or calls != rows * scenario.calls_per_rollout:
            raise RuntimeError(f"{scenario.title}: {rows} rows gave {delivered} results in {calls} calls")
        return usage

    def collector_peak_mb(self) -> float:
        """Peak memory of the last run's collector itself, in megabytes, as its manifest says."""
        return float(orjson.loads((self.workdir / "results_run.json").read_bytes())["timings"]["peak_memory_mb"])

    def _command(self, scenario: Scenario, tasks: Path, results: Path, rows: int) -> list[str]:
        if scenario.resources is None:
            loop = [*command_of("benchmarks.bare_loop"), f"{self._engine_url}/v1", str(tasks), str(results)]
            return [*loop, str(rows), str(scenario.concurrency)]
        name = scenario.environment
        return [
            *command_of("nemo_gym_lite.cli.collect_rollouts"),
            f"+config_paths=[{MODEL_CONFIG},{_CONFIGS[name]}]",
            f"+agent_name={name}_simple_agent",
            f"+input_jsonl_fpath={tasks}",
            f"+output_jsonl_fpath={results}",
            f"+limit={rows}",
            f"+concurrency={scenario.concurrency}",
            f"++{name}.resources_servers.{name}.placement={scenario.resources}",
            f"++policy_model.responses_api_models.vllm_model.placement={scenario.model}",
        ]

    def _rows(self, environment_name: str, rows: int) -> Path:
        """A file of at least `rows` rows, written once."""
        with_tool = environment_name == "simple_weather"
        path = self.workdir / f"{environment_name}-{rows}.jsonl"
        return path if path.exists() else write_rows(path, rows, with_tool=with_tool)

    def _count(self, *, reset: bool = False) -> int:
        """Answers that the engine has given since the last reset."""
        route = "reset" if reset else "stats"
        request = Request(f"{self._engine_url}/simulator/{route}", method="POST" if reset else "GET")
        with urlopen(request) as reply:
            return int(orjson.loads(reply.read())["completed"])


@contextmanager
def running_engine() -> Iterator[str]:
    """An engine without latency in a process of its own, so that its CPU is not the system's; gives its URL."""
    settings = '{"sessions_kept": 0, "prompts_kept": 0, "accuracy": 1.0}'
    command = [*command_of("responses_api_models.simulated_model.serve"), "--port", "0", "--settings", settings]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        try:
            yield engine.stdout.readline().split()[-1].removesuffix("/v1")
        finally:
            engine.terminate()
