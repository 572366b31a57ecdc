"""Measures every way from tasks to a real engine on this machine, and what task affinity does for prefix caches.

`python -m benchmarks.gpu.run --shape 8b` needs vLLM and a GPU, `--shape tiny` vLLM on a CPU. It prints a table. What
fails or does not fit into the time is a line of the table; engines are stopped in any case.
"""

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gpu.figures import NO_GPUS, PLACEMENTS, TITLES, Figure, Problem, Report, page
from benchmarks.gpu.nvml import GpuWatch
from benchmarks.gpu.programs import variables
from benchmarks.gpu.servers import NAME, model_of, serving
from benchmarks.gpu.settings import CPU_SHAPE, engine_arguments, half, parse
from benchmarks.gpu.shapes import write_model
from benchmarks.gpu.ways import Load, Ways
from benchmarks.gpu.workload import Prompts, requests_for
from responses_api_models.local_vllm_model.gpus import visible_gpus

_SERVED = ("bare", "near", "served")
"""Ways to one server, which take turns there."""

_WARM_REQUESTS, _WARM_TOKENS = 256, 16

_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "red", "blue", "green")
"""What prompts are made of where no tokenizer can be asked; they have about as many tokens as they should then."""


class GpuBenchmark:
    """One run of the benchmark.

    Args:
        options: What the user asked.
        folder: An empty folder to work in.
        report: Gets what is measured.
        gpu: Watches the GPU.
    """

    def __init__(self, options: argparse.Namespace, folder: Path, report: Report, gpu: GpuWatch) -> None:
        self._options, self._folder, self._report = options, folder, report
        self._end_s: float = time.monotonic() + options.deadline_s
        self._engine_args = engine_arguments(options)
        self._urls = [url for url in options.base_url.split(",") if url]
        self._model = options.model or str(write_model(options.shape, folder / options.shape))
        found = self._probe()
        self._has_package = found.get("has_nemo_gym_lite", False)
        prompts = Prompts(found.get("words", _WORDS), found.get("template_tokens", 0))
        self._ways = Ways(options.python, self._model, prompts, folder, self._left, gpu)
        gpus = visible_gpus(os.environ)
        report.about |= {
            "vLLM": found["vllm"],
            "model": options.model or f"{options.shape} shape, dummy weights",
            "GPUs": f"{len(gpus)} x {gpu.name or 'unknown, as pynvml is not installed'}" if gpus else NO_GPUS,
            "CPUs": f"{os.cpu_count()} ({platform.machine()})",
            "tokens": f"{options.prompt_tokens} prompt + {options.output_tokens} output",
            "engine arguments": json.dumps(self._engine_args | options.serve_args),
            "repeats": f"{options.repeats} repeats of each prompt of {options.prefix_tokens} tokens",
        }

    def measure(self) -> None:
        """Every step that is wanted."""
        steps = {"offline": self._offline, "bare": self._served, "engine": self._engine, "prefix": self._prefix}
        wanted = self._options.steps
        for step, play in steps.items():
            if step in wanted or (step == "bare" and set(_SERVED) & set(wanted)):
                play()

    def _offline(self) -> None:
        measured: list[int] = []

        def keep(figure: Figure) -> None:
            measured.append(figure.in_flight)
            self._keep(figure)

        loads = [self._load(size) for size in self._options.in_flight]
        try:
            self._ways.offline(loads, self._engine_args, keep)
        except Exception as error:  # whatever it was, it is told in the table
            for size in self._options.in_flight[len(measured) :]:
                self._miss("offline", size, error)

    def _served(self) -> None:
        ways = [way for way in _SERVED if way in self._options.steps]
        with self._told(ways, None), self._servers(1) as (urls, model):
            many = min(_WARM_REQUESTS, max(self._options.in_flight))
            warm = Load(many, many, self._options.prompt_tokens, _WARM_TOKENS)
            self._ways.bare("bare", warm, urls, model)
            for turn in range(self._options.rounds):
                for size in self._options.in_flight:
                    for way in ways if turn % 2 == 0 else ways[::-1]:
                        with self._told([way], size):
                            self._keep(self._play(way, self._load(size), urls, model))

    def _play(self, way: str, load: Load, urls: Sequence[str], model: str) -> Figure:
        if way == "bare":
            return self._ways.bare(way, load, urls, model)
        return self._ways.collector(way, load, urls, model, {"placement": "far" if way == "served" else "near"})

    def _engine(self) -> None:
        with self._told(["engine"], None):
            if not self._has_package:
                raise RuntimeError(f"{self._options.python} has no nemo_gym_lite beside vLLM: pip install -e . there")
            for size in self._options.in_flight:
                with self._told(["engine"], size):
                    self._keep(self._ways.engine(self._load(size), self._engine_args))

    def _prefix(self) -> None:
        options = self._options
        tasks = max(1, requests_for(options.prefix_in_flight, options.waves) // options.repeats)
        load = Load(
            options.prefix_in_flight,
            tasks * options.repeats,
            options.prefix_tokens,
            options.output_tokens,
            options.repeats,
        )
        with self._told(list(PLACEMENTS), None), self._servers(2) as (urls, model):
            if len(urls) < 2:
                raise RuntimeError("it takes two servers: --base-url names one")
            for way in PLACEMENTS:
                with self._told([way], load.in_flight):
                    self._keep(self._repeated(way, load, urls, model))

    def _repeated(self, way: str, load: Load, urls: Sequence[str], model: str) -> Figure:
        if way == "prefix-random":
            return self._ways.bare(way, load, urls, model)
        settings = {"routing": {"session_affinity": way.removeprefix("prefix-")}}
        return self._ways.collector(way, load, urls, model, settings)

    @contextmanager
    def _servers(self, count: int) -> Iterator[tuple[list[str], str]]:
        """URLs of servers, and the name of their model."""
        options = self._options
        if self._urls:
            yield self._urls[:count], model_of(self._urls[0])
            return
        arguments = (self._engine_args if count == 1 else half(self._engine_args)) | options.serve_args
        with serving(options.python, self._model, [arguments] * count, self._folder, self._left) as urls:
            yield urls, NAME

    def _load(self, in_flight: int) -> Load:
        options = self._options
        requests = requests_for(in_flight, options.waves)
        return Load(in_flight, requests, options.prompt_tokens, options.output_tokens)

    def _left(self) -> float:
        """Seconds that the next thing may take.

        Raises:
            RuntimeError: There is no time left.
        """
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise RuntimeError(f"no time was left of --deadline-s {self._options.deadline_s:.0f}")
        limit_s: float = self._options.limit_s
        return min(left_s, limit_s)

    @contextmanager
    def _told(self, ways: Sequence[str], in_flight: int | None) -> Iterator[None]:
        """Put into the table what went wrong."""
        try:
            yield
        except Exception as error:  # whatever it was, it is told in the table, and the next step begins
            for way in ways:
                self._miss(way, in_flight, error)

    def _keep(self, figure: Figure) -> None:
        self._report.figures.append(figure)
        self._say(f"{figure.way} at {figure.in_flight}: {figure.per_s:.2f} requests/s in {figure.wall_s:.1f} s")

    def _miss(self, way: str, in_flight: int | None, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        self._report.problems.append(Problem(way, in_flight, reason[:400]))
        self._say(f"{way} at {in_flight or 'all'}: not measured: {reason}")

    def _say(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        if self._options.out:  # what is measured so far survives whatever ends this
            self._report.write(self._options.out)

    def _probe(self) -> dict[str, Any]:
        command = [self._options.python, "-m", "benchmarks.gpu.probe", self._model]
        limit_s = self._options.limit_s
        done = subprocess.run(command, env=variables(), capture_output=True, text=True, timeout=limit_s, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            return {"vllm": f"{self._options.python} cannot read the model: {reason}"}
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if something could not be measured, 130 if it was interrupted."""
    options = parse(words)
    if options.shape == CPU_SHAPE:
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # there it compiles C++ in the middle of a request
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that engines are stopped then, too
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    report = Report.read(options.out) if options.out and options.out.exists() else Report()
    report.forget(way for way in [*TITLES, *PLACEMENTS] if way.partition("-")[0] in options.steps)
    code = 0
    try:
        with tempfile.TemporaryDirectory(prefix="ng-gpu-") as folder, GpuWatch() as gpu:
            GpuBenchmark(options, Path(folder), report, gpu).measure()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; this is what was measured\n")
        code = 130
    sys.stdout.write(page(report))
    return code or int(bool(report.problems))


if __name__ == "__main__":
    sys.exit(main())
