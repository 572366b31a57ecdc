"""Scenario 7: a million rows in little memory, quickly resumed, and what it costs to watch a run."""

import subprocess
import time

import orjson
import psutil

from benchmarks.bench import running_engine
from benchmarks.measured import command_of, environment
from benchmarks.million import MEMORY_BAR_MB, SCAN_BAR_S, write_tasks
from benchmarks.observability import BAR_PERCENT, Blinking
from benchmarks.soak.commands import Command, Place
from benchmarks.soak.engines import EngineProcess, engine
from benchmarks.soak.scene import Scenario, Scene, say
from benchmarks.soak.verdict import Line, Panel, Picture, Verdict, at_most, exactly, told

PROMISE = (
    "1,000,000 rows against the simulated engine: collector memory flat under 250 MB, resume scan of that file under "
    "30 s and under 250 MB. The observability of this issue costs ≤ 3 % CPU, measured on and off."
)
FLAT_MB = 60.0
"""Growth of the memory from a tenth of the rows on that still counts as flat; rows that were kept would take 3,000."""


def _play(scene: Scene, verdict: Verdict) -> None:
    """Play all rows for real, come back to the finished output, and scan it."""
    rows = scene.pick(30_000, 1_000_000)
    say(f"  {rows:,} rows")
    with engine(arrivals_kept=0) as only:
        place = scene.place("million", [only])
        tasks = write_tasks(place.folder / "tasks.jsonl", rows)
        words = place.collect(tasks, concurrency=500)
        run = place.start(words)
        times_s, memory_mb, done = _watched(run, only)
        ended = run.end().checked()
        answers = only.stats()["completed"]
    peak_mb = float(place.manifest()["timings"]["peak_memory_mb"])
    early = [megabytes for megabytes, count in zip(memory_mb, done, strict=True) if count >= rows / 10]
    verdict.figures += [
        exactly(f"{rows:,} rows: answers of the engine", answers, rows),
        at_most(f"{rows:,} rows: peak memory of the collector", peak_mb, MEMORY_BAR_MB, "MB"),
        at_most("growth of its memory from the first tenth of the rows on", max(early) - early[0], FLAT_MB, "MB"),
        told("rollouts per second, CPU for each", f"{rows / ended.wall_s:,.0f}/s, {ended.cpu_s / rows * 1e3:.2f} ms"),
    ]
    again = place.run(words).checked()
    verdict.figures += [
        exactly("the same command again: rows in the output", place.lines(), rows),
        told("the same command again, from start to end", again.wall_s, "s"),
    ]
    _scan(place, verdict)
    panels = [
        Panel("memory of the collector, MB", [Line("", times_s, memory_mb)], levels=[(MEMORY_BAR_MB, "bar")]),
        Panel("rows", [Line("", times_s, done)]),
    ]
    verdict.pictures.append(Picture("million", f"{rows:,} rows", panels))


def _watched(run: Command, only: EngineProcess) -> tuple[list[float], list[float], list[float]]:
    """Memory of the collector and answers of the engine, each second."""
    times_s: list[float] = []
    memory_mb: list[float] = []
    done: list[float] = []
    while run.runs():
        try:
            megabytes = psutil.Process(run.pid).memory_info().rss / 1e6
        except psutil.Error:  # it has just ended
            break
        times_s.append(time.time() - run.began_s)
        memory_mb.append(megabytes)
        done.append(only.stats()["completed"])
        time.sleep(1.0)
    return times_s, memory_mb, done


def _scan(place: Place, verdict: Verdict) -> None:
    """Each step of coming back to the output, in a process of its own: `benchmarks.million steps`."""
    paths = (str(place.folder / "tasks.jsonl"), str(place.folder / "out.jsonl"))
    command = [*command_of("benchmarks.million"), "steps", *paths]
    said = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True).stdout
    steps = {step["name"]: step for step in map(orjson.loads, said.splitlines())}
    peak_mb = max(step["peak_mb"] for step in steps.values())
    verdict.figures += [
        at_most("resume scan", steps["resume scan"]["wall_s"], SCAN_BAR_S, "s"),
        at_most("peak memory of coming back", peak_mb, MEMORY_BAR_MB, "MB"),
        told("steps of coming back", ", ".join(f"{name} {step['wall_s']:.1f} s" for name, step in steps.items())),
    ]


def _watching(scene: Scene, verdict: Verdict) -> None:
    """CPU with everything that shows a run and with nothing of it, in turn: `benchmarks.observability`."""
    rows = scene.pick(20_000, 100_000)
    say(f"  {rows:,} rollouts, watched and not in turn")
    with running_engine() as url:
        costs = Blinking(scene.folder, url).cost(rows)
    verdict.figures += [
        at_most("CPU of rollouts that are watched, more than of those that are not", costs.percent, BAR_PERCENT, "%"),
        told("CPU for each rollout, watched and not", f"{costs.on_ms:.3f} ms and {costs.off_ms:.3f} ms"),
    ]


MILLION = Scenario(7, "A million rows", PROMISE, (_play, _watching))
