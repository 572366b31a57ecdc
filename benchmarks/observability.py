"""What it costs to see a run: CPU per near single-turn rollout with everything on and with everything off.

On: episodes note turn, stage and endpoint, calls are counted, the watch looks each second, and a reader takes the page
of metrics each second, fifteen times as often as Prometheus does. Off: `unobserved.py`. The two take turns, and of
each side the quietest runs count, because a busy machine makes CPU dearer and never cheaper.
"""

import argparse
import sys
import tempfile
import threading
import time
import timeit
from contextlib import suppress
from itertools import count
from pathlib import Path
from socket import socket
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.bench import Bench, Scenario, running_engine
from benchmarks.measured import Usage, command_of, slope
from nemo_gym_lite.clock import SystemClock
from nemo_gym_lite.episode import Episodes, at_endpoint, at_stage, at_turn
from nemo_gym_lite.rollouts.families import page
from nemo_gym_lite.rollouts.progress import Tally
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.rollouts.watch import Watch
from nemo_gym_lite.routing.call_stats import CallStats
from nemo_gym_lite.routing.pool import EndpointPool

BAR_PERCENT = 3


class Seen(Bench):
    """Plays rollouts with everything on, and reads their metrics."""

    port = 0

    def read_metrics(self, until: threading.Event) -> None:
        """Take the page once a second, as long as there is one."""
        while not until.wait(1.0):
            with suppress(URLError, OSError), urlopen(f"http://127.0.0.1:{self.port}/metrics") as page:
                page.read()

    def _command(self, scenario: Scenario, tasks: Path, results: Path, rows: int) -> list[str]:
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        return [*super()._command(scenario, tasks, results, rows), f"+metrics_port={self.port}"]


class Unseen(Bench):
    """Plays rollouts that nobody watches."""

    def _command(self, scenario: Scenario, tasks: Path, results: Path, rows: int) -> list[str]:
        words = super()._command(scenario, tasks, results, rows)
        return [*command_of("benchmarks.unobserved"), *words[len(command_of("")) :]]


def main() -> int:
    """Measure and print; a missed bar is shown and is no failure: the machine may be busy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the long run of each side")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each side")
    parser.add_argument("--concurrency", type=int, default=100)
    options = parser.parse_args()
    scenario = Scenario("single turn, near", resources="near", concurrency=options.concurrency)
    with tempfile.TemporaryDirectory(prefix="ng-seen-") as folder, running_engine() as url:
        seen, unseen = Seen(Path(folder), url), Unseen(Path(folder), url)
        ended = threading.Event()
        threading.Thread(target=seen.read_metrics, args=(ended,), daemon=True).start()
        costs = measure(seen, unseen, scenario, options.rows, options.rounds)
        ended.set()
    (on_ms, on_all), (off_ms, off_all) = costs["on"], costs["off"]
    print(f"on  {on_ms:.4f} ms CPU per rollout; rounds {on_all}")
    print(f"off {off_ms:.4f} ms CPU per rollout; rounds {off_all}")
    print(f"seeing costs {1e3 * (on_ms - off_ms):.1f} us, {100 * (on_ms / off_ms - 1):.1f} % (bar {BAR_PERCENT} %)")
    print(f"timed alone: {noted_us():.1f} us for each rollout, {looked_us():.0f} us for each look, one a second,")
    print(f"{read_us():.0f} us for each page of metrics, which Prometheus takes every 15 s or so")
    return 0


def measure(
    seen: Bench, unseen: Bench, scenario: Scenario, rows: int, rounds: int
) -> dict[str, tuple[float, list[float]]]:
    """By side, CPU per rollout in milliseconds: of the quietest runs, and of each round."""
    few = max(rows // 10, 1)
    runs: dict[str, list[tuple[Usage, Usage]]] = {"on": [], "off": []}
    for number in range(rounds):
        sys.stderr.write(f"round {number + 1} of {rounds}\n")
        order = [("on", seen), ("off", unseen)]
        for side, bench in order if number % 2 else order[::-1]:
            runs[side].append((bench.play(scenario, few), bench.play(scenario, rows)))
    costs = {}
    for side, pairs in runs.items():
        quiet = [min(usages, key=lambda usage: usage.cpu_s) for usages in zip(*pairs, strict=True)]
        each = [round(slope(short, few, long, rows).cpu_ms, 3) for short, long in pairs]
        costs[side] = slope(quiet[0], few, quiet[1], rows).cpu_ms, each
    return costs


def noted_us() -> float:
    """Microseconds of what is noted for one single-turn rollout, in the order in which it is."""
    episodes, calls, tally = Episodes(), CallStats(), Tally(total=1)
    usage = {"input_tokens": 100, "output_tokens": 50}

    def rollout() -> None:
        episode = episodes.begin(f"task {12345}, rollout {0}", time.monotonic())
        at_stage("seed")
        at_turn()
        at_endpoint(None)
        at_endpoint("http://127.0.0.1:8000/v1")
        calls.add(0.5, usage)
        at_stage("verify")
        episodes.end(episode)
        tally.count_tokens(usage)

    return min(timeit.repeat(rollout, number=20_000, repeat=5)) / 20_000 * 1e6


def looked_us() -> float:
    """Microseconds of one look at a run with four endpoints."""
    watch = _watch()
    return min(timeit.repeat(watch.look, number=200, repeat=5)) / 200 * 1e6


def read_us() -> float:
    """Microseconds of one page of metrics of such a run."""
    watch = _watch()
    return min(timeit.repeat(lambda: page(watch.families()), number=50, repeat=5)) / 50 * 1e6


def _watch() -> Watch:
    pool = EndpointPool([f"http://127.0.0.1:{port}/v1" for port in range(8000, 8004)], SystemClock())

    def vitals() -> Vitals:
        return Vitals({"policy_model": list(pool.snapshot())}, CallStats())

    seconds = count()
    return Watch(Tally(total=1000), vitals, 60.0, clock=lambda: float(next(seconds)))


if __name__ == "__main__":
    sys.exit(main())
