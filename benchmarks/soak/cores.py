"""Scenario 6: two workers use two cores, and a worker that is killed every second loses nothing."""

import time

import psutil

from benchmarks.bench import running_engine
from benchmarks.soak.commands import Command, Place
from benchmarks.soak.curves import load, rate
from benchmarks.soak.engines import engines
from benchmarks.soak.scene import Scenario, Scene, say
from benchmarks.soak.verdict import Line, Panel, Picture, Verdict, at_least, at_most, exactly, told
from benchmarks.workers import WORKLOADS, Bench, Figures, Workload, elsewhere, middle

PROMISE = (
    "`+num_workers=2` on 2 cores gives ≥ 1.6 times the rollouts/s of one (simulated engine in its own process, CPU "
    "time reported); a worker killed every second for a minute loses nothing."
)
CONCURRENCY = 128
WORKER = "nemo_gym_lite.rollouts.worker"


def _speed(scene: Scene, verdict: Verdict) -> None:
    """One and two processes in turn, so that a busy moment of the machine hits both: `benchmarks.workers`."""
    rounds = scene.pick(1, 3)
    with running_engine() as url:
        bench = Bench(scene.folder, url, CONCURRENCY)
        for workload in WORKLOADS[-1:] if scene.quick else WORKLOADS:
            say(f"  {workload.title}: one process and two workers, {rounds} times")
            runs = [(bench.play(workload, 1), bench.play(workload, 2)) for _ in range(rounds)]
            one, two = (middle([run[which] for run in runs]) for which in (0, 1))
            _tell(verdict, workload, one, two)


def _tell(verdict: Verdict, workload: Workload, one: Figures, two: Figures) -> None:
    """The bar is for rollouts whose work is ours; of the others the engine, on the same cores, takes its part."""
    what, times = f"{workload.title}: rollouts/s of two workers / of one process", two.per_s / one.per_s
    verdict.figures += [
        at_least(what, times, 1.6) if workload is WORKLOADS[-1] else told(what, times),
        told(f"{workload.title}: rollouts/s", f"{one.per_s:,.0f} and {two.per_s:,.0f}"),
        told(f"{workload.title}: times one by CPU, with the engine on other cores", elsewhere(one, two, 2)),
        told(
            f"{workload.title}: CPU for each rollout, ours and the engine's",
            f"{one.ours_ms:.2f} + {one.engine_ms:.2f} ms and {two.ours_ms:.2f} + {two.engine_ms:.2f} ms",
        ),
    ]


def _kills(scene: Scene, verdict: Verdict) -> None:
    """Kill a worker every second."""
    seconds = scene.pick(20, 60)
    rows = int(seconds * 320 * 1.2)
    say(f"  a worker killed every second for {seconds} s, {rows:,} rows")
    with engines(4, latency={"ttft_s": 0.2, "jitter": 0.5}, arrivals_kept=500_000, sessions_kept=200_000) as fleet:
        place = scene.place("kills", fleet)
        run = place.start(place.collect(place.tasks(rows), concurrency=64, num_workers=2))
        run.until("a call arrives", lambda: fleet[0].stats()["calls"])
        kills = _kill_workers(run, place, seconds)
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


def _kill_workers(run: Command, place: Place, seconds: float) -> list[float]:
    """SIGKILL the oldest worker each second, later where a busy machine has not played a row since; gives when."""
    kills: list[float] = []
    until_s = time.time() + seconds
    lines = 0
    while time.time() < until_s and run.runs():
        time.sleep(1.0)
        workers = _workers(run.pid)
        if workers and (now := place.lines()) > lines:
            lines = now
            workers[0].kill()
            kills.append(time.time())
    return kills


def _workers(pid: int) -> list[psutil.Process]:
    """Worker processes, the oldest first."""
    found: list[tuple[float, psutil.Process]] = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if WORKER in " ".join(child.cmdline()):
                found.append((child.create_time(), child))
        except psutil.Error:  # it has just ended
            continue
    return [child for _, child in sorted(found, key=lambda each: each[0])]


CORES = Scenario(6, "Many cores", PROMISE, (_speed, _kills))
