"""Scenario 6: two workers use two cores, and a worker that is killed every second loses nothing."""

import time

import psutil

from benchmarks.bench import running_engine
from benchmarks.soak.commands import Command
from benchmarks.soak.curves import load, rate
from benchmarks.soak.engines import engines
from benchmarks.soak.scene import Scenario, Scene, say
from benchmarks.soak.verdict import Line, Panel, Picture, Verdict, at_least, at_most, exactly, told
from benchmarks.workers import elsewhere, measure
from benchmarks.workers import WORKLOADS, Bench, Figures, Workload, middle

PROMISE = (
    "`+num_workers=2` on 2 cores gives ≥ 1.6 times the rollouts/s of one (simulated engine in its own process, CPU "
    "time reported); a worker killed every second for a minute loses nothing."
)
CONCURRENCY = 128
IN_FLIGHT = 128
WORKER = "nemo_gym_lite.rollouts.worker"


def _speed(scene: Scene, verdict: Verdict) -> None:
    """The bar holds where the work is ours. Where the engine's own is much of it, and on the same two cores, no number
    of workers gets there; by their CPU they would with an engine that is elsewhere, as engines are."""
    for workload, (one, two) in measure(2, scene.pick(1, 3), IN_FLIGHT).items():
        ratio, title = two.per_s / one.per_s, f"{workload.title}: rollouts/s of two workers / of one process"
        costs = (two.collector_ms, two.workers_ms, two.engine_ms)
        verdict.figures += [
            at_least(title, ratio, 1.6) if workload.is_ours else told(title, ratio),
            told(f"{workload.title}: the same by CPU, with the engine elsewhere", elsewhere(one, two, 2)),
            told(f"{workload.title}: rollouts/s of one and of two", f"{one.per_s:,.0f} and {two.per_s:,.0f}"),
            told(
                f"{workload.title}: CPU ms for each rollout, of one: collector, engine", _ms(one.ours_ms, one.engine_ms)
            ),
            told(f"{workload.title}: CPU ms for each rollout, of two: collector, workers, engine", _ms(*costs)),
        ]


def _ms(*costs: float) -> str:
    return ", ".join(f"{cost:.2f}" for cost in costs)


def _kills(scene: Scene, verdict: Verdict) -> None:
    """Kill a worker every second."""
    seconds = scene.pick(20, 60)
    rows = int(seconds * 320 * 1.2)
    say(f"  a worker killed every second for {seconds} s, {rows:,} rows")
    with engines(4, latency={"ttft_s": 0.2, "jitter": 0.5}, arrivals_kept=500_000, sessions_kept=200_000) as fleet:
        place = scene.place("kills", fleet)
        run = place.start(place.collect(place.tasks(rows), concurrency=64, num_workers=2))
        run.until("a call arrives", lambda: fleet[0].stats()["calls"])
        kills = _kill_workers(run, seconds)
        run.end().checked()
        times = [when_s for each in fleet for when_s, *_ in each.rows()]
        histories = [each.history() for each in fleet]
        answered = [each.stats()["completed"] for each in fleet]
    identities = place.identities()
    verdict.figures += [
        told("workers killed", len(kills)),
        exactly("killed workers: rows, each once", len(set(identities)), rows),
        exactly("killed workers: rows more than once", len(identities) - len(set(identities)), 0),
        exactly("killed workers: failures in the sidecar", place.lines("out_failures.jsonl"), 0),
        at_most(
            "two workers over four endpoints: answers of the busiest / mean", max(answered) * 4 / sum(answered), 1.05
        ),
    ]
    began_s = min(times)
    marks = [(kill_s - began_s, "worker killed") for kill_s in kills]
    busy = [load(f"endpoint {number + 1}", history, began_s) for number, history in enumerate(histories)]
    calls: Line = rate("calls", times, began_s)
    panels = [Panel("calls per second", [calls], marks=marks), Panel("requests in flight", busy)]
    verdict.pictures.append(Picture("killed_workers", "Two workers, one of which is killed every second", panels))


def _kill_workers(run: Command, seconds: float) -> list[float]:
    """SIGKILL one worker each second, in turn; gives when."""
    kills: list[float] = []
    until_s = time.time() + seconds
    while time.time() < until_s and run.runs():
        time.sleep(1.0)
        if workers := _workers(run.pid):
            workers[len(kills) % len(workers)].kill()
            kills.append(time.time())
    return kills


def _workers(pid: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if WORKER in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:  # it has just ended
            continue
    return found


CORES = Scenario(6, "Many cores", PROMISE, (_speed, _kills))
