"""What it costs to see a run: CPU per near single-turn rollout with open eyes and with closed ones.

Open: episodes note turn, stage and endpoint, calls are counted, the watch looks each second, and a reader takes the
page of metrics each second, fifteen times as often as Prometheus does. Closed: none of it, see `blinking.py`.
"""

import argparse
import tempfile
import threading
import time
import timeit
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from socket import socket
from statistics import median, quantiles
from urllib.error import URLError
from urllib.request import urlopen

import orjson

from benchmarks.bench import Bench, Scenario, running_engine
from benchmarks.measured import command_of
from nemo_gym_lite.clock import SystemClock
from nemo_gym_lite.episode import Episodes, at_endpoint, at_stage, at_turn
from nemo_gym_lite.rollouts.families import page
from nemo_gym_lite.rollouts.progress import Tally
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.rollouts.watch import Watch
from nemo_gym_lite.routing.call_stats import CallStats
from nemo_gym_lite.routing.pool import EndpointPool

BAR_PERCENT = 3
NEAR = Scenario("single turn, near", resources="near")


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU per rollout in milliseconds, of the stretches of one run.

    Attributes:
        on_ms: With open eyes, median.
        off_ms: With closed ones, median.
        percents: How much more each stretch with open eyes cost than those beside it.
    """

    on_ms: float
    off_ms: float
    percents: list[float]

    @property
    def percent(self) -> float:
        """How much more seeing costs, median."""
        return median(self.percents)


class Blinking(Bench):
    """Plays rollouts with eyes open and closed in turn, and reads their metrics."""

    port = 0

    def cost(self, rows: int, scenario: Scenario = NEAR) -> Costs:
        """Play one run of `rows` rollouts, some ten thousand for a figure that can be trusted."""
        ended = threading.Event()
        reader = threading.Thread(target=self._read_metrics, args=(ended,))
        reader.start()
        try:
            self.play(scenario, rows)
        finally:
            ended.set()
            reader.join()
        stretches: list[float] = orjson.loads((self.workdir / "blinks.json").read_bytes())
        beside = zip(stretches[0::2], stretches[1::2], stretches[2::2], strict=False)
        percents = [100 * ((before + after) / 2 / closed - 1) for before, closed, after in beside]
        return Costs(median(stretches[0::2]), median(stretches[1::2]), percents)

    def _read_metrics(self, ended: threading.Event) -> None:
        while not ended.wait(1.0):
            with suppress(URLError, OSError), urlopen(f"http://127.0.0.1:{self.port}/metrics") as reply:
                reply.read()

    def _command(self, scenario: Scenario, tasks: Path, results: Path, rows: int) -> list[str]:
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = super()._command(scenario, tasks, results, rows)[len(command_of("")) :]
        return [*command_of("benchmarks.blinking"), *words, f"+metrics_port={self.port}"]


def main() -> None:
    """Measure and print; a missed bar is shown and is no failure: the machine may be busy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=60_000, help="rollouts to play")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ng-seen-") as folder, running_engine() as url:
        costs = Blinking(Path(folder), url).cost(options.rows)
    low, middle, high = quantiles(costs.percents, n=4)
    print(f"CPU per rollout: {costs.on_ms:.4f} ms with open eyes, {costs.off_ms:.4f} ms with closed ones")
    print(f"seeing costs {middle:.1f} % (quartiles {low:.1f} and {high:.1f}, {len(costs.percents)} pairs of stretches;")
    print(f"bar {BAR_PERCENT} %)")
    print(f"timed alone: {noted_us():.1f} us for each rollout, {looked_us():.0f} us for each look, one a second,")
    print(f"{read_us():.0f} us for each page of metrics, which Prometheus takes every 15 s or so")


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
    main()
