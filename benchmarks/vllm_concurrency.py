"""Compares `+concurrency=auto` with 1 to 64 on real vLLM, on this machine's CPU.

`python -m benchmarks.vllm_concurrency` needs what `make test-vllm` installs. Fixed numbers and auto take turns, as the
machine may not be quiet.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.soak.commands import Place
from tests.vllm.engines import NAME, VENV, Engine

NUMBERS = "1,2,4,8,16,32,64,auto"
WARM_S = 8.0
"""Seconds from the start that are not counted; the rest of a run is its settled rate."""

BAR = 0.9


def write_tasks(path: Path, count: int) -> Path:
    """Short prompts, each different."""
    with path.open("wb") as file:
        for number in range(count):
            messages = [{"role": "user", "content": f"Task {number}: what is {number} plus {number}?"}]
            row = {"responses_create_params": {"input": messages}, "expected_answer": str(2 * number)}
            file.write(orjson.dumps(row) + b"\n")
    return path


def play(place: Place, tasks: Path, concurrency: str, seconds: float, answer_tokens: int) -> tuple[float, float]:
    """Rollouts per second once settled, and the mean limit then."""
    words = place.collect(
        tasks,
        output=f"{concurrency}.jsonl",
        concurrency=concurrency,
        overwrite="true",
        max_wall_s=seconds,
        drain_s=0.0,
        disable_aggregation="true",
        **{"responses_create_params.max_output_tokens": str(answer_tokens)},
    )
    place.run(words).checked(0, 3, 4)
    history = place.manifest(f"{concurrency}.jsonl")["history"][-1]
    points = zip(history["t_s"], history["delivered"], history["limit"], strict=True)
    settled = [point for point in points if WARM_S <= point[0] <= seconds]
    (first_s, first, _), (last_s, last, _) = settled[0], settled[-1]
    return (last - first) / (last_s - first_s), statistics.mean(limit for _, _, limit in settled)


def main() -> int:
    """Measure and print; 1 if auto is behind."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each run")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each number; the best of each is shown")
    parser.add_argument("--tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--numbers", default=NUMBERS, help="what is compared")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {number: [] for number in options.numbers.split(",")}
    limits: dict[str, float] = {}
    served = Engine("concurrency", VENV / "logs")
    try:
        served.start()
        served.wait_until_ready()
        with tempfile.TemporaryDirectory(prefix="ng-vllm-") as folder:
            place = Place(Path(folder), [])
            keys = f"policy_base_url: {served.base_url}\npolicy_api_key: EMPTY\npolicy_model_name: {NAME}\n"
            (place.folder / "env.yaml").write_text(keys)
            tasks = write_tasks(place.folder / "tasks.jsonl", 20_000)
            for _ in range(options.rounds):
                for number, found in rates.items():
                    rate, limits[number] = play(place, tasks, number, options.seconds, options.tokens)
                    found.append(rate)
                    sys.stderr.write(f"{number}: {rate:.1f}/s, limit {limits[number]:.0f}\n")
    finally:
        served.stop()
    return _show(rates, limits)


def _show(rates: dict[str, list[float]], limits: dict[str, float]) -> int:
    best = max(max(found) for number, found in rates.items() if number != "auto")
    table = Table("concurrency", "mean limit", "rollouts/s", "of the best fixed")
    for number, found in rates.items():
        runs = ", ".join(f"{rate:.1f}" for rate in found)
        table.add_row(number, f"{limits[number]:.0f}", runs, f"{max(found) / best:.0%}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    return 0 if max(rates["auto"]) >= BAR * best else 1


if __name__ == "__main__":
    sys.exit(main())
