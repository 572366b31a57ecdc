"""Compares `+concurrency=auto` with fixed numbers: `python -m benchmarks.admission [--seconds 90]`.

Each figure is a real command against a simulated engine in a process of its own. Answers take so long that the CPU is
not what limits; the engine's own record says how many requests it had.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.soak.commands import Place
from benchmarks.soak.curves import longest_above
from benchmarks.soak.engines import engine

BAR = 0.9
"""Share of the best fixed number's throughput that is wanted."""

WARM_S = 20.0
"""Seconds after the start from which the settled rate is taken."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of engine.

    Attributes:
        settings: Of the engine.
        slots: What it serves at once, or what is best for it.
        latency_s: Of one answer.
        fixed: The numbers to compare with.
    """

    title: str
    settings: dict[str, Any]
    slots: int
    latency_s: float
    fixed: Sequence[int]


@dataclass(frozen=True, slots=True)
class Played:
    """What a run brought.

    Attributes:
        per_s: Rollouts per second from the first to the last.
        settled_per_s: The same from `WARM_S` seconds on, until the last rollouts run out.
        above_s: Longest time that the engine had more than 1.5 times its slots, in seconds.
        most: Most requests that it ever had.
        mean: Mean of the requests that it had once settled.
    """

    per_s: float
    settled_per_s: float
    above_s: float
    most: float
    mean: float


def _slots(count: int, latency_s: float, title: str = "", **settings: Any) -> Case:
    latency = {"ttft_s": latency_s, "jitter": 0.3}
    return Case(
        title or f"{count} slots, {latency_s:g} s",
        {"slots": count, "latency": latency, **settings},
        count,
        latency_s,
        (count // 2, count, 2 * count),
    )


def cases() -> list[Case]:
    """What is compared."""
    cache = {"kv_cache_tokens": 40_000, "answer_tokens": [200, 400], "latency": {"token_s": 0.003, "jitter": 0.3}}
    return [
        _slots(4, 0.25),
        _slots(64, 0.5),
        _slots(512, 2.0),
        Case("a cache for about 60 of 512 slots", {"slots": 512, **cache}, 512, 1.0, (32, 64, 96, 256)),
        _slots(64, 0.5, "64 slots, no /metrics", serves_metrics=False),
        Case(
            "a hosted interface, 100 requests/s",
            {
                "serves_metrics": False,
                "limits": {"requests_per_second": 100},
                "latency": {"ttft_s": 0.5, "jitter": 0.3},
            },
            50,
            0.5,
            (25, 50, 100),
        ),
    ]


def play(case: Case, folder: Path, concurrency: int | str, seconds: float) -> Played:
    """One run of about `seconds` seconds."""
    with engine(**case.settings) as served:
        place = Place(folder, [served])
        tasks = place.tasks(int(case.slots / case.latency_s * seconds))
        words = place.collect(
            tasks,
            concurrency=concurrency,
            overwrite="true",
            max_wall_s=seconds,
            drain_s=0.0,
            disable_aggregation="true",
        )
        began_s = time.time()
        place.run(words).checked(0, 3, 4)
        return _told(served.history(), case.slots, began_s)


def _told(history: dict[str, list[float]], slots: int, began_s: float) -> Played:
    """Read the engine's record."""
    rows = list(zip(history["epoch_s"], history["completed"], history["in_flight"], strict=True))
    busy = [(at_s, completed, load) for at_s, completed, load in rows if at_s >= began_s and load]
    first_s, last_s = busy[0][0], busy[-1][0]
    settled = [row for row in busy if first_s + WARM_S <= row[0] <= last_s - 2.0] or busy
    loads = [load for _, _, load in settled]
    return Played(
        per_s=sum(completed for _, completed, _ in busy) / (last_s - first_s),
        settled_per_s=sum(completed for _, completed, _ in settled) / (settled[-1][0] - settled[0][0]),
        above_s=longest_above(history, 1.5 * slots, first_s, last_s),
        most=max(history["most_in_flight"]),
        mean=sum(loads) / len(loads),
    )


def compare(case: Case, folder: Path, seconds: float, table: Table) -> bool:
    """Play a case and put it into the table; whether auto does."""
    best = 0.0
    for number in case.fixed:
        fixed = play(case, folder, number, seconds / 2)
        best = max(best, fixed.settled_per_s)
        table.add_row(case.title, str(number), *_columns(fixed))
    auto = play(case, folder, "auto", seconds)
    table.add_row(
        case.title, "auto", *_columns(auto), f"{auto.per_s / best:.0%}, settled {auto.settled_per_s / best:.0%}"
    )
    return auto.settled_per_s >= BAR * best


def _columns(played: Played) -> list[str]:
    rates = [f"{played.per_s:.1f}", f"{played.settled_per_s:.1f}"]
    return [*rates, f"{played.mean:.0f}", f"{played.most:.0f}", f"{played.above_s:.1f} s"]


def main() -> int:
    """Measure and print; 1 if auto is behind somewhere."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument(
        "--seconds", type=float, default=90.0, help="length of each run with auto; fixed ones take half"
    )
    parser.add_argument("--only", default="", help="cases whose title contains this")
    options = parser.parse_args()
    table = Table("engine", "concurrency", "/s", "/s settled", "mean", "most", "above 1.5 x slots", "auto/best")
    good = True
    with tempfile.TemporaryDirectory(prefix="ng-admission-") as folder:
        for case in cases():
            if options.only in case.title:
                sys.stderr.write(f"measuring: {case.title}\n")
                good &= compare(case, Path(folder), options.seconds, table)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
