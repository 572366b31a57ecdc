"""A million rows: what it costs to come back to such an output, and what a collector needs that writes one.

    python -m benchmarks.million resume --rows 1000000   # a synthetic output, read and summed up again
    python -m benchmarks.million play --rows 100000      # a real run against the simulated engine

Both delete what they wrote. A million rows take up to 6 GB of disk, and a run of them about eight minutes of two cores.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from benchmarks.bench import Bench, Scenario, running_engine
from benchmarks.measured import command_of, environment
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.plan import PlanSettings, Spec, plan
from nemo_gym_lite.rollouts.report import write_metrics
from nemo_gym_lite.rollouts.resume import Done, scan
from nemo_gym_lite.rollouts.source import InputSummary, check_input, read_tasks

SCAN = "resume scan"
SCAN_BAR_S = 30.0
MEMORY_BAR_MB = 250.0
AGENT = "gsm8k_simple_agent"
PROMPT_CHARS = 600
"""Makes rows of 2 kB: a row is the task, the response, and 1.4 kB of their fields' names."""


@dataclass(frozen=True, slots=True)
class Step:
    """One part of coming back to an output.

    Attributes:
        name: What is done.
        wall_s: Seconds that it took.
        cpu_s: CPU that it took, which a busy machine changes less.
        memory_mb: Resident memory of the process after it, in megabytes.
        peak_mb: The most that the process ever had so far.
    """

    name: str
    wall_s: float
    cpu_s: float
    memory_mb: float
    peak_mb: float


def write_tasks(path: Path, count: int, prompt_chars: int = PROMPT_CHARS) -> Path:
    """Write `count` different tasks, one prompt of `prompt_chars` characters each."""
    filler = "Every crate is written down twice. " * (prompt_chars // 35 + 1)
    with path.open("wb") as file:
        for number in range(count):
            text = f"Task {number}. {filler}"[:prompt_chars]
            params = {"input": [{"role": "user", "content": text}]}
            file.write(orjson.dumps({"responses_create_params": params, "expected_answer": str(number)}) + b"\n")
    return path


def write_output(tasks: Path, output: Path) -> Path:
    """Write the output that a finished run over `tasks` leaves, with the fields of a real row."""
    with output.open("wb") as file:
        for spec in plan(read_tasks(tasks), PlanSettings(AGENT)):
            file.write(orjson.dumps(_row(spec)) + b"\n")
    return output


def resume_steps(tasks: Path, output: Path) -> Iterator[Step]:
    """Do what a command does with a finished output, in this process: check, scan, plan, sum up."""
    settings, files, metrics = PlanSettings(AGENT), OutputFiles(output), RunMetrics()
    summary: InputSummary
    done: Done

    def check() -> None:
        nonlocal summary
        summary = check_input(tasks, settings)

    def scan_output() -> None:
        nonlocal done
        done = scan(files, metrics.add)

    def plan_owed() -> None:
        owed = sum(done.owed(spec) for spec in plan(read_tasks(tasks), settings, summary.tasks))
        assert (owed, done.rows) == (0, summary.tasks), "the output does not hold every rollout"

    yield _measured("imports", lambda: None)
    yield _measured("check of the input", check)
    yield _measured(SCAN, scan_output)
    yield _measured("plan of what is owed", plan_owed)
    yield _measured("aggregate metrics", lambda: write_metrics(files, metrics, {}))


def measure_resume(folder: Path, rows: int, prompt_chars: int = PROMPT_CHARS) -> list[Step]:
    """Write an output of `rows` rows and come back to it in a process of its own."""
    tasks = write_tasks(folder / "tasks.jsonl", rows, prompt_chars)
    output = write_output(tasks, folder / "results.jsonl")
    command = [*command_of("benchmarks.million"), "steps", str(tasks), str(output)]
    said = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True).stdout
    return [Step(**orjson.loads(line)) for line in said.splitlines()]


def measure_play(folder: Path, rows: int, concurrency: int = 500) -> dict[str, Any]:
    """Play `rows` rows of 2 kB prompts for real; the manifest's timings, with the whole command's wall clock.

    Raises:
        RuntimeError: Not every row was delivered by exactly one model call.
    """
    with running_engine() as url:
        bench = Bench(folder, url)
        usage = bench.play(Scenario("a million rows", resources="near", concurrency=concurrency), rows)
    timings: dict[str, Any] = orjson.loads((folder / "results_run.json").read_bytes())["timings"]
    return {**timings, "command_s": usage.wall_s, "command_cpu_s": usage.cpu_s, "largest_process_mb": usage.peak_mb}


def main() -> int:
    """Measure one of the two and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("what", choices=("resume", "play", "steps"))
    parser.add_argument("files", type=Path, nargs="*", help="of `steps`, which the others start")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--prompt-chars", type=int, default=PROMPT_CHARS)
    options = parser.parse_args()
    if options.what == "steps":
        for step in resume_steps(*options.files):
            sys.stdout.write(orjson.dumps(asdict(step)).decode() + "\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="ng-million-") as folder:
        if options.what == "play":
            for name, value in measure_play(Path(folder), options.rows).items():
                sys.stdout.write(f"{name:24} {value:12,.1f}\n")
        else:
            _show(measure_resume(Path(folder), options.rows, options.prompt_chars), options.rows)
    return 0


def _show(steps: list[Step], rows: int) -> None:
    for step in steps:
        times = f"{step.wall_s:8.1f} s, {step.cpu_s:6.1f} s of CPU"
        sys.stdout.write(f"{step.name:24} {times}, {step.memory_mb:6.0f} MB, peak {step.peak_mb:.0f} MB\n")
    [scanned_s] = [step.wall_s for step in steps if step.name == SCAN]
    peak_mb = max(step.peak_mb for step in steps)
    met = "met" if scanned_s <= SCAN_BAR_S and peak_mb <= MEMORY_BAR_MB else "NOT met"
    bars = f"bars {SCAN_BAR_S:.0f} s and {MEMORY_BAR_MB:.0f} MB: {met}"
    sys.stdout.write(f"{rows:,} rows scanned in {scanned_s:.1f} s, peak {peak_mb:.0f} MB; {bars}\n")


def _measured(name: str, step: Callable[[], object]) -> Step:
    began_s, cpu_s = time.perf_counter(), time.process_time()
    step()
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return Step(name, wall_s, cpu_s, psutil.Process().memory_info().rss / 1e6, peak_mb)


def _row(spec: Spec) -> dict[str, Any]:
    number = spec.task_index
    usage = {
        "input_tokens": 150 + number % 7,
        "input_tokens_details": {"cached_tokens": None},
        "output_tokens": 10 + number % 40,
        "output_tokens_details": {"reasoning_tokens": None},
        "total_tokens": 160 + number % 7 + number % 40,
    }
    return {
        **spec.row,
        "response": _response(number, usage),
        "reward": float(number % 3 > 0),
        "extracted_answer": str(number),
        "has_answer": True,
        "usage": usage,
        "agent_ref": {"type": "responses_api_agents", "name": spec.agent_name},
        "_ng_task_index": spec.task_index,
        "_ng_rollout_index": spec.rollout_index,
        "_ng_key": spec.key,
    }


_UNSET = (
    *("error", "incomplete_details", "instructions", "metadata", "temperature", "top_p", "background", "conversation"),
    *("max_output_tokens", "max_tool_calls", "previous_response_id", "prompt", "prompt_cache_key", "reasoning"),
    *("safety_identifier", "service_tier", "text", "top_logprobs", "truncation", "user"),
)


def _response(number: int, usage: dict[str, Any]) -> dict[str, Any]:
    text = f"Nothing here contradicts anything else, so the result\n\n\\boxed{{{number}}}"
    content: dict[str, Any] = {"annotations": [], "text": text, "type": "output_text", "logprobs": None}
    message = {"content": [content], "role": "assistant", "status": "completed", "type": "message"}
    return {
        "id": f"resp_{number:032x}",
        "created_at": 1795219468.0,
        "model": "simulated",
        "object": "response",
        "output": [{"id": f"msg_{number:032x}", **message}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "status": "completed",
        **dict.fromkeys(_UNSET),
        "usage": usage,
    }


if __name__ == "__main__":
    sys.exit(main())
