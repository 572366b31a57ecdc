"""`make bench`: CPU per rollout beside a bare client loop, rate, memory by rows, start-up, each with its bar.

CPU is summed over all processes of the system and leaves the engine out, because machines are shared and wall clocks
lie. Start and end of a command are taken out by measuring a short and a long run.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.bench import Bench, Scenario, running_engine
from benchmarks.measured import Slope
from benchmarks.startup import measure_startup

BARE = Scenario("bare client loop, single turn")
NEAR = Scenario("single turn, near resources", 0.6, 0.3, resources="near")
TOOL = "simple_weather"
SCENARIOS = (
    BARE,
    Scenario("bare client loop, two turns", environment=TOOL),
    NEAR,
    Scenario("single turn, near resources, 1,000 in flight", 0.6, 0.3, resources="near", concurrency=1000),
    Scenario("single turn, far resources", 1.3, 0.8, resources="far"),
    Scenario("single turn, far resources and far model", resources="far", model="far"),
    Scenario("two turns, one tool, verify, near resources", environment=TOOL, resources="near"),
    Scenario("two turns, one tool, verify, far resources", 3.0, 2.0, TOOL, "far"),
)
MEMORY_ROWS = (1_000, 10_000, 50_000, 100_000)
RATE_BAR_PER_S, RATE_STRETCH_PER_S = 1_500, 3_000
COLLECTOR_BAR_MB, COLLECTOR_STRETCH_MB = 250, 150
TOTAL_BAR_MB, TOTAL_STRETCH_MB = 450, 300
READY_BAR_S, READY_STRETCH_S = 4.0, 2.0
FLAT_MB = 50
"""Growth of the peak over the memory rows that still counts as flat; rows that were kept would take 600."""

Line = tuple[str, float | None, float | None, float, str]
"""What, bar, stretch, measured, unit."""


def main() -> int:
    """Measure and print. A missed bar is shown and is no failure: the machine may be busy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=5_000, help="rows of the long run of each scenario")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each scenario; medians are shown")
    parser.add_argument("--memory-rows", type=int, default=MEMORY_ROWS[-1], help="most rows of the memory test")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ng-bench-") as folder, running_engine() as url:
        lines = measure(Bench(Path(folder), url), options.rows, options.rounds, options.memory_rows)
    show(lines)
    return 0


def measure(bench: Bench, rows: int, rounds: int, memory_rows: int) -> list[Line]:
    """All figures."""
    costs: dict[Scenario, Slope] = {}
    for scenario in SCENARIOS:
        _say(f"measuring: {scenario.title}")
        costs[scenario] = bench.measure(scenario, rows, rounds)
    lines: list[Line] = [
        (f"CPU per rollout: {each.title}", each.bar_ms, each.stretch_ms, cost.cpu_ms, "ms")
        for each, cost in costs.items()
    ]
    lines.append(("rollouts per second: bare client loop", None, None, costs[BARE].per_s, "/s"))
    near = costs[NEAR].per_s
    lines.append(("rollouts per second: near resources", RATE_BAR_PER_S, RATE_STRETCH_PER_S, near, "/s"))
    _say("measuring: start of three servers")
    startup = measure_startup(bench.workdir, rounds)
    peaks = _peaks(bench, memory_rows)
    lines.extend(
        (f"collector's peak memory, {count:,} rows", COLLECTOR_BAR_MB, COLLECTOR_STRETCH_MB, peak, "MB")
        for count, peak in peaks.items()
    )
    growth = max(peaks.values()) - min(peaks.values())
    lines.append(("growth of the peak over these rows", FLAT_MB, None, growth, "MB"))
    total = startup.servers_mb + peaks[min(peaks)]
    what = f"memory of ng_run with 3 servers ({startup.processes} processes) and collector"
    lines.append((what, TOTAL_BAR_MB, TOTAL_STRETCH_MB, total, "MB"))
    lines.append(("ng_run: start to ready, 3 servers", READY_BAR_S, READY_STRETCH_S, startup.ready_s, "s"))
    return lines


def _peaks(bench: Bench, memory_rows: int) -> dict[int, float]:
    """The collector's peak memory by number of rows, each in a process of its own."""
    peaks = {}
    for count in (count for count in MEMORY_ROWS if count <= memory_rows):
        _say(f"measuring: memory at {count:,} rows")
        largest = bench.play(NEAR, count).peak_mb
        peaks[count] = bench.collector_peak_mb()
    _say(f"the process that computes gsm8k's own metrics over the last of these takes {largest:,.0f} MB")
    return peaks


def missed(line: Line) -> bool:
    """Whether a figure is on the wrong side of its bar."""
    _, bar, _, measured, unit = line
    if bar is None:
        return False
    return measured < bar if unit == "/s" else measured > bar


def show(lines: list[Line]) -> None:
    """Print the table."""
    table = Table("what", "bar", "stretch", "measured", "")
    for line in lines:
        what, bar, stretch, measured, unit = line
        verdict = "" if bar is None else ("MISSED" if missed(line) else "met")
        table.add_row(what, _number(bar, unit), _number(stretch, unit), _number(measured, unit), verdict)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    text = f"{value:.2f}" if unit in {"ms", "s"} else f"{value:,.0f}"
    return f"{text} {unit}".replace(" /s", "/s")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
