"""Scenario 2: endpoints that refuse for ever, ask for patience, misbehave in every way and die, and a collector that is
killed meanwhile."""

import random
import threading
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from benchmarks.soak.commands import Command, Place
from benchmarks.soak.curves import lives, rate
from benchmarks.soak.engines import EngineProcess, engine
from benchmarks.soak.scene import Scenario, Scene, say
from benchmarks.soak.verdict import Line, Panel, Picture, Verdict, at_least, at_most, exactly, told

PROMISE = (
    "429 for ever: each row ends as `rate_limited` within its budget ±10 %, calls ≤ rows x attempts. `Retry-After: 3`: "
    "no call to that endpoint from any rollout for 3 s. All faults at once (5 % 429, 5 % 500, 2 % reset, 1 % hang, 1 % "
    "half body, 1 % invalid JSON, an endpoint dying and returning, five SIGKILLs of the collector): 10,000 rollouts, "
    "each exactly once, none failed within the default attempts."
)
ALL_FAULTS = {
    "rate_limited": 0.05,
    "server_error": 0.05,
    "reset": 0.02,
    "hang": 0.01,
    "half_body": 0.01,
    "invalid_json": 0.01,
}
KILLS = 5
FOR_EVER_S = 60.0
"""No row of the first part may take so long."""
ON_THE_LINE_S = 0.1
"""A call that was sent before the 429 came back may still arrive."""


def _for_ever(scene: Scene, verdict: Verdict) -> None:
    """Refuse everything: rows end by their seconds, and by their attempts."""
    rows = scene.pick(50, 200)
    for attempts, budget_s in ((1_000, 10.0), (4, 20.0)):
        say(f"  429 for ever, {attempts} attempts, {budget_s:.0f} s")
        with engine(faults={"rate_limited": 1.0, "retry_after_s": None}) as only:
            place = scene.place(f"for-ever-{attempts}", [only])
            routing = {"model.routing": f"{{attempts: {attempts}, budget_s: {budget_s}}}"}
            words = place.collect(place.tasks(rows), concurrency=rows, **routing)
            run = place.start(words)
            run.until("a call arrives", lambda only=only: only.stats()["calls"])
            began_s = time.time()
            first_s, last_s = _sidecar_times(run, place, began_s)
            run.end(1).checked(3)
            calls = only.stats()["calls"]
        classes = {row["_ng_failure_class"] for row in place.rows("out_failures.jsonl")}
        name = f"429 for ever, {attempts:,} attempts and {budget_s:.0f} s"
        verdict.figures += [
            exactly(
                f"{name}: rows that ended as rate_limited",
                (place.lines("out_failures.jsonl"), classes),
                (rows, {"rate_limited"}),
            ),
            at_most(f"{name}: calls", calls, rows * attempts),
            at_most(f"{name}: the last row ended after", last_s, budget_s * 1.1, "s"),
        ]
        if attempts == 1_000:
            verdict.figures.append(at_least(f"{name}: the first row ended after", first_s, budget_s * 0.9, "s"))


def _sidecar_times(run: Command, place: Place, began_s: float) -> tuple[float, float]:
    """When the first and the last failure were written, in seconds since `began_s`."""
    first_s = last_s = 0.0
    seen = 0
    while run.runs() and time.time() < began_s + FOR_EVER_S:
        lines = place.lines("out_failures.jsonl")
        if lines > seen:
            last_s = time.time() - began_s
            first_s, seen = first_s or last_s, lines
        time.sleep(0.05)
    return first_s, last_s


def _patience(scene: Scene, verdict: Verdict) -> None:
    """One 429 with `Retry-After: 3` in the middle of a busy run."""
    say("  Retry-After: 3")
    with engine(latency={"ttft_s": 0.1, "jitter": 0.5}, arrivals_kept=500_000) as only:
        place = scene.place("patience", [only])
        run = place.start(place.collect(place.tasks(3_500), concurrency=50))
        run.until("the run is busy", lambda: only.stats()["calls"] > 500)
        only.tell("faults", rate_limited=1.0, at_most=1, retry_after_s=3)
        run.end().checked()
        rows = only.rows()
    [refused_s] = [when_s for when_s, _, status in rows if status == 429]
    later = [when_s - refused_s for when_s, _, _ in rows if when_s > refused_s + ON_THE_LINE_S]
    verdict.figures += [
        at_least("`Retry-After: 3`: the next call of any rollout came after", min(later), 3.0, "s"),
        exactly("`Retry-After: 3`: rows lost", 3_500 - len(set(place.identities())), 0),
    ]
    began_s = min(when_s for when_s, _, _ in rows)
    calls = rate("calls", (when_s for when_s, _, _ in rows), began_s, 0.25)
    marks = [(refused_s - began_s, "429, Retry-After: 3")]
    panel = Panel("calls per second", [calls], marks=marks)
    verdict.pictures.append(
        Picture("retry_after", "One 429 with `Retry-After: 3` quietens the whole endpoint", [panel])
    )


def _everything(scene: Scene, verdict: Verdict) -> None:
    """All faults at once, an endpoint that dies and returns, and kills of the collector."""
    rows = scene.pick(1_500, 10_000)
    say(f"  all faults at once, {KILLS} kills, {rows:,} rollouts")
    latency = {"ttft_s": 0.1, "jitter": 0.5}
    forms = ({"retry_after_s": 0.5}, {"retry_after_s": None}, {"retry_after_s": 1, "retry_after_form": "date"})
    made = [engine(latency=latency, seed=seed, faults=ALL_FAULTS | form) for seed, form in enumerate(forms)]
    with made[0] as first, made[1] as second, made[2] as third:
        fleet = [first, second, third]
        place = scene.place("everything", fleet)
        tasks = place.tasks(rows // 4)
        words = place.collect(tasks, concurrency=64, num_repeats=4, **{"deadlines.call_s": 5})
        over = threading.Event()
        dying = threading.Thread(target=_die_and_return, args=(third, over))
        dying.start()
        try:
            kills, curve = _with_kills(place, words, rows)
        finally:
            over.set()
            dying.join()
        _judge_everything(verdict, place, fleet, rows)
        verdict.pictures.append(_picture(fleet, kills, curve))


def _with_kills(place: Place, words: Sequence[str], rows: int) -> tuple[list[float], Line]:
    """Kill the collector at random moments and start it again; gives when, and the rows over time."""
    draw, kills = random.Random(7), []
    times_s, lines = [time.time()], [0]

    def note() -> int:
        times_s.append(time.time())
        lines.append(place.lines())
        return lines[-1]

    for number in range(KILLS):
        run, enough = place.start(words), rows * (number + draw.random()) / (KILLS + 1)
        run.until("rows were added", lambda enough=enough: note() >= enough, 300, 0.2)
        kills.append(time.time())
        run.kill()
    run = place.start(words)
    while run.runs():
        note()
        time.sleep(0.2)
    run.end().checked()
    note()
    return kills, Line("rows in the output", times_s, lines)


def _die_and_return(victim: EngineProcess, over: threading.Event) -> None:
    """Kill an engine every now and then until the run is over; it lives then."""
    while not over.wait(8.0):
        victim.kill()
        over.wait(4.0)
        victim.start()


def _judge_everything(verdict: Verdict, place: Place, fleet: Sequence[EngineProcess], rows: int) -> None:
    identities = place.identities()
    counts = [engine.counts() for engine in fleet]
    calls, answers = sum(count["calls"] for count in counts), sum(count["completed"] for count in counts)
    deaths = len(fleet[-1].lives) - 1
    verdict.figures += [
        exactly("all faults: rollouts in the output, each once", len(set(identities)), rows),
        exactly("all faults: rollouts more than once", len(identities) - len(set(identities)), 0),
        exactly("all faults: failures in the sidecar", place.lines("out_failures.jsonl"), 0),
        exactly("all faults: lines that are torn", sum(not line.endswith(b"}\n") for line in _raw(place.folder)), 0),
        told("all faults: calls, those answered, deaths of the endpoint", f"{calls:,}, {answers:,}, {deaths}"),
    ]


def _raw(folder: Path) -> list[bytes]:
    return (folder / "out.jsonl").read_bytes().splitlines(keepends=True)


def _picture(fleet: Sequence[EngineProcess], kills: Sequence[float], curve: Line) -> Picture:
    times = [[when_s for when_s, _, _ in engine.rows()] for engine in fleet]
    began_s = min(chain.from_iterable(times))
    calls = [rate(f"endpoint {number + 1}", each, began_s) for number, each in enumerate(times)]
    delivered = Line(curve.label, [when_s - began_s for when_s in curve.x], curve.y)
    marks, dead = [(kill_s - began_s, "collector killed") for kill_s in kills], lives(fleet[-1], began_s)
    spans = [(died_s, returned_s, "") for died_s, returned_s, _ in dead]
    return Picture(
        "all_faults",
        "All faults at once: endpoint 3 dies (grey) and returns, the collector is killed five times",
        [
            Panel("rows in the output", [delivered], marks=marks, spans=spans),
            Panel("calls per second", calls, marks=marks, spans=spans),
        ],
    )


FAULTS = Scenario(2, "Refusals, faults and kills", PROMISE, (_for_ever, _patience, _everything))
