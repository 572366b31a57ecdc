"""Scenario 5: checks that spin, crash or take all memory cost their own rows and nobody else's time."""

import subprocess
from collections import Counter
from pathlib import Path

import orjson

from benchmarks.measured import ROOT, command_of, environment
from benchmarks.soak.commands import Place
from benchmarks.soak.curves import rate
from benchmarks.soak.engines import engine
from benchmarks.soak.scene import Scenario, Scene, say
from benchmarks.soak.verdict import Line, Panel, Picture, Verdict, at_most, exactly, told

PROMISE = (
    "A checker that spins, one that segfaults, one that allocates 8 GB, on 1 % of rows: the others' verify time at "
    "most doubles; those rows are in the sidecar by class; the pool is whole afterwards."
)
CAUSES = {"spins": "timeout", "crashes": "crash", "allocates": "out_of_memory"}
EVERY = 100
WORK_S = 0.002
POOL = "++hazards.resources_servers.hazards.verify_pool"
PATIENCE_S = 3.0
"""On a busy machine a good check must not be taken for one that spins."""
ROOTS = {"NEMO_GYM_EXTRA_ROOTS": str(ROOT / "tests" / "hazards")}


def _others(scene: Scene, verdict: Verdict) -> None:
    """The pool alone, without engine and collector: `benchmarks.check_pool`."""
    rows = scene.pick(1_500, 6_000)
    say(f"  the pool alone, {rows:,} checks without and with bad ones")
    command = [*command_of("benchmarks.check_pool"), "--rows", str(rows), "--timeout-s", str(PATIENCE_S)]
    ran = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    if not ran.stdout:
        raise RuntimeError(ran.stderr[-2000:])
    found = orjson.loads(ran.stdout)
    quiet_ms, troubled_ms = found["mean_ms"]
    verdict.figures += [
        at_most("the others' verify time, with 1 % bad rows / without", found["mean_ratio"], 2.0),
        told("the others' verify time on average, without and with", f"{quiet_ms:.1f} ms and {troubled_ms:.1f} ms"),
        exactly("bad rows whose cause was another", len(found["wrong"]), 0),
        exactly("the pool is whole afterwards", found["whole_afterwards"], True),
    ]


def _collected(scene: Scene, verdict: Verdict) -> None:
    """A real run over an environment whose checks are of all kinds."""
    rows = scene.pick(1_500, 9_000)
    curves: list[Line] = []
    for name, hazards in (("without", ()), ("with", tuple(CAUSES))):
        say(f"  {rows:,} rows {name} bad checks")
        with engine(latency={"ttft_s": 0.05}) as only:
            place = scene.place(name, [only])
            words = place.collect(_tasks(place, rows, hazards), game="hazards", concurrency=16)
            ended = place.run([*words, f"{POOL}.timeout_s={PATIENCE_S}"], more=ROOTS).checked(3 if hazards else 0)
            times = [when_s for when_s, *_ in only.rows()]
        curves.append(rate(f"{name} bad checks", times, times[0]))
    bad = {number: hazard for number in range(rows) if (hazard := _hazard(number, tuple(CAUSES)))}
    causes = Counter(row.get("_ng_failure_cause") for row in place.rows("out_failures.jsonl"))
    expected = Counter(CAUSES[hazard] for hazard in bad.values())
    classes = {row["_ng_failure_class"] for row in place.rows("out_failures.jsonl")}
    verdict.figures += [
        exactly("collected: bad rows in the sidecar, by cause", _told(causes), _told(expected)),
        exactly("collected: their failure class", classes, {"verify_failed"}),
        exactly("collected: the other rows, each once", len(set(place.identities())), rows - len(bad)),
        told("collected: the run's time", ended.wall_s, "s"),
    ]
    panel = Panel("calls per second", curves)
    verdict.pictures.append(
        Picture("bad_checks", "The same rows without and with 1 % checks that spin, crash or allocate", [panel])
    )


def _hazard(number: int, hazards: tuple[str, ...]) -> str:
    bad = hazards and number % EVERY == EVERY // 2
    return hazards[number // EVERY % len(hazards)] if bad else ""


def _tasks(place: Place, rows: int, hazards: tuple[str, ...]) -> Path:
    path = place.folder / "tasks.jsonl"
    with path.open("wb") as file:
        for number in range(rows):
            message = {"role": "user", "content": f"Task {number}: how much is {number} plus {number}?"}
            row = {"responses_create_params": {"input": [message]}, "work_s": WORK_S}
            file.write(orjson.dumps({**row, "hazard": _hazard(number, hazards)}) + b"\n")
    return path


def _told(counts: Counter[str | None]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items(), key=str))


CHECKS = Scenario(5, "Checks that end badly", PROMISE, (_others, _collected))
