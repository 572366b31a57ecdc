"""Plays tasks in each way to an engine and checks that every answer came, with all its tokens."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu.figures import Figure
from benchmarks.gpu.nvml import GpuWatch
from benchmarks.gpu.programs import Program, variables
from benchmarks.gpu.servers import Counters
from benchmarks.gpu.workload import Prompts, write_tasks

Json = dict[str, Any]

_FEW = 8
"""Rollouts of the run that tells what the start of a command costs."""

_MANY = 256
"""Rollouts from which on a command's CPU is told apart from that of its start."""

_INSIDE = "offline_vllm_model"
_GSM8K = "resources_servers/gsm8k/configs/gsm8k.yaml"
_MODELS = "responses_api_models/{0}/configs/{0}.yaml"


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked.

    Attributes:
        in_flight: Requests at a time.
        requests: How many there are.
        prompt_tokens: Tokens of each prompt.
        output_tokens: Tokens of each answer.
        repeats: How often each prompt is asked.
    """

    in_flight: int
    requests: int
    prompt_tokens: int
    output_tokens: int
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answered load took; see `Figure`."""

    requests: int
    wall_s: float
    prompt_tokens: int
    output_tokens: int
    ended_s: float
    cpu_s: float | None = None
    hit_rate: float | None = None


class Ways:
    """Plays loads, each with prompts of its own.

    Args:
        python: The Python that has vLLM.
        model: What vLLM is given.
        prompts: Makes prompts.
        folder: An empty folder to work in.
        left: Seconds that the next run may take.
        gpu: Watches the GPU.
    """

    def __init__(
        self, python: str, model: str, prompts: Prompts, folder: Path, left: Callable[[], float], gpu: GpuWatch
    ) -> None:
        self._python, self._model, self._prompts, self._folder = python, model, prompts, folder
        self._left, self._gpu = left, gpu
        self._runs = 0
        self._start_cpu_s: dict[str, float] = {}

    def offline(self, loads: Sequence[Load], engine_args: Json, keep: Callable[[Figure], None]) -> None:
        """All loads in one engine without a server; `keep` gets each figure, also of those before it broke.

        Raises:
            RuntimeError: Not all could be played.
        """
        results = self._path("offline-results.jsonl")
        runs = [{"tasks": str(self._tasks(load)), "in_flight": load.in_flight} for load in loads]
        settings = {"model": self._model, "engine_args": engine_args, "runs": runs, "results": str(results)}
        results.touch()
        try:
            settings_file = self._json("offline.json", settings)
            self._run([self._python, "-m", "benchmarks.gpu.offline", str(settings_file)], "offline")
        finally:
            for load, line in zip(loads, results.read_text().splitlines(), strict=False):
                keep(self._figure("offline", load, Outcome(**json.loads(line))))

    def bare(self, way: str, load: Load, urls: Sequence[str], model: str) -> Figure:
        """A bare client, which sends each request to any of the servers."""
        results = self._path("bare.json")
        words = [str(self._tasks(load)), str(results), ",".join(urls), model]
        words += [str(load.in_flight), str(load.repeats)]
        counters = Counters(urls)
        self._run([sys.executable, "-m", "benchmarks.gpu.client", *words], "bare")
        return self._served(way, load, Outcome(**json.loads(results.read_text())), counters)

    def collector(
        self, way: str, load: Load, urls: Sequence[str], model: str, settings: Mapping[str, Any] | None = None
    ) -> Figure:
        """`ng_collect_rollouts` with `vllm_model`, whose block gets `settings`."""
        block = {"base_url": list(urls), "api_key": "EMPTY", "model": model, **(settings or {})}
        if way not in self._start_cpu_s and load.requests >= _MANY and load.repeats == 1:
            few = Load(_FEW, _FEW, load.prompt_tokens, load.output_tokens)
            self._start_cpu_s[way] = self._collect(few, "vllm_model", block, sys.executable)[1]
        counters = Counters(urls)
        outcome, cpu_s = self._collect(load, "vllm_model", block, sys.executable)
        if load.requests >= _MANY and way in self._start_cpu_s:
            of_one_s = (cpu_s - self._start_cpu_s[way]) / (load.requests - _FEW)
            outcome = replace(outcome, cpu_s=of_one_s * load.requests)
        return self._served(way, load, outcome, counters)

    def engine(self, load: Load, engine_args: Json) -> Figure:
        """`ng_collect_rollouts` with the engine in its own process."""
        block = {"model": self._model, "engine_args": engine_args}
        return self._figure("engine", load, self._collect(load, _INSIDE, block, self._python)[0])

    def _collect(self, load: Load, kind: str, block: Json, python: str) -> tuple[Outcome, float]:
        """Play a load; returns what it took, and the whole command's CPU in seconds."""
        tasks = self._tasks(load)
        tree = {"policy_model": {"responses_api_models": {kind: {"extra_body": {"ignore_eos": True}, **block}}}}
        ours, rollouts = self._json("model.yaml", tree), self._path("rollouts.jsonl")
        command = [
            *(python, "-m", "nemo_gym_lite.cli.collect_rollouts"),
            f"+config_paths=[{_MODELS.format(kind)},{ours},{_GSM8K}]",
            "+agent_name=gsm8k_simple_agent",
            f"+input_jsonl_fpath={tasks}",
            f"+output_jsonl_fpath={rollouts}",
            f"+num_repeats={load.repeats}",
            f"+concurrency={load.in_flight}",
            "+disable_aggregation=true",
            f"+warmup_requests={_FEW if kind == _INSIDE else 0}",  # servers have answered before
        ]
        cpu_s = self._run(command, "collect")
        manifest = json.loads(rollouts.with_name(f"{rollouts.stem}_run.json").read_text())
        outcome = Outcome(
            manifest["counts"]["delivered"],
            manifest["timings"]["elapsed_s"],
            int(manifest["tokens"]["input_tokens"]),
            int(manifest["tokens"]["output_tokens"]),
            rollouts.stat().st_mtime,
        )
        return outcome, cpu_s

    def _served(self, way: str, load: Load, outcome: Outcome, counters: Counters) -> Figure:
        if (answered := counters.answered()) != load.requests:
            raise RuntimeError(f"the servers counted {answered} answers to {load.requests} requests")
        return self._figure(way, load, replace(outcome, hit_rate=counters.hit_rate() if load.repeats > 1 else None))

    def _figure(self, way: str, load: Load, outcome: Outcome) -> Figure:
        """The figure of an outcome.

        Raises:
            RuntimeError: Answers are missing, or are shorter than they should be.
        """
        wanted = load.requests * load.output_tokens
        if (outcome.requests, outcome.output_tokens) != (load.requests, wanted):
            answers = f"{outcome.requests} answers with {outcome.output_tokens} tokens"
            raise RuntimeError(f"{load.requests} requests gave {answers} instead of {wanted}")
        return Figure(
            way,
            load.in_flight,
            load.requests,
            outcome.wall_s,
            outcome.prompt_tokens,
            outcome.output_tokens,
            outcome.cpu_s,
            outcome.hit_rate,
            self._gpu.means(outcome.ended_s - outcome.wall_s, outcome.ended_s),
        )

    def _tasks(self, load: Load) -> Path:
        """A file of new tasks; whoever plays them asks each as often as it is to be repeated."""
        texts = [self._prompts.text(load.prompt_tokens) for _ in range(load.requests // load.repeats)]
        return write_tasks(self._path("tasks.jsonl"), texts, load.output_tokens)

    def _run(self, words: Sequence[str], name: str) -> float:
        """Run a command to its end; returns its CPU in seconds."""
        limit_s = self._left()
        program = Program(words, self._folder, f"{self._runs}-{name}", variables())
        try:
            return program.end(limit_s)
        finally:
            program.stop()

    def _json(self, name: str, content: Json) -> Path:
        path = self._path(name)
        path.write_text(json.dumps(content))
        return path

    def _path(self, name: str) -> Path:
        """A file of its own for each run."""
        self._runs += 1
        return self._folder / f"{self._runs}-{name}"
