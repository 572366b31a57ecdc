"""Scenario 1: sessions spread evenly, stay where they are, and live through an endpoint that dies or is slow."""

import time
from itertools import chain

from benchmarks.soak.curves import lives, load, rate
from benchmarks.soak.engines import EngineProcess, engines
from benchmarks.soak.scene import Scenario, Scene, say
from benchmarks.soak.verdict import Panel, Picture, Verdict, at_least, at_most, exactly, told

PROMISE = (
    "Four endpoints: sessions spread with max/mean ≤ 1.05; all turns of a session on one endpoint. One endpoint killed "
    "mid-run: no row lost; revived: back at ≥ 80 % of its fair share within 10 s. One endpoint 10 times slower: wall "
    "clock ≤ 1.4 times ideal with least_loaded."
)
TURNS = 2  # of a rollout of simple_weather
GAME = "simple_weather"
FLEET = 4
BACK_S = 10.0
WINDOW_S = 2.0
KILLED_AFTER_S, DEAD_S, WATCHED_S = 6.0, 5.0, 21.0


def _balance(scene: Scene, verdict: Verdict) -> None:
    rows = scene.pick(1_500, 6_000)
    say(f"  {rows:,} sessions over {FLEET} endpoints")
    with engines(FLEET, latency={"ttft_s": 0.15, "jitter": 0.7}, sessions_kept=200_000) as fleet:
        place = scene.place("balance", fleet)
        place.run(place.collect(place.tasks(rows, GAME), game=GAME, concurrency=96)).checked()
        tables = [engine.stats("?sessions")["sessions"] for engine in fleet]
    sizes = [len(table) for table in tables]
    homes = set(chain.from_iterable(tables))
    verdict.figures += [
        at_most("sessions of the busiest endpoint / mean", max(sizes) / (sum(sizes) / FLEET), 1.05),
        told("sessions by endpoint", ", ".join(f"{size:,}" for size in sizes)),
        exactly("sessions that were at more than one endpoint", sum(sizes) - len(homes), 0),
        exactly("sessions without all of their turns there", _incomplete(tables), 0),
    ]


def _incomplete(tables: list[dict[str, int]]) -> int:
    return sum(calls != TURNS for table in tables for calls in table.values())


def _death(scene: Scene, verdict: Verdict) -> None:
    """Kill one endpoint, start it again, and see when it has its share."""
    rows = int((KILLED_AFTER_S + DEAD_S + WATCHED_S) * 160)
    say(f"  one of {FLEET} endpoints killed and started again, {rows:,} rows")
    with engines(FLEET, latency={"ttft_s": 0.2, "jitter": 0.3}, arrivals_kept=500_000) as fleet:
        place = scene.place("death", fleet)
        run = place.start(place.collect(place.tasks(rows, GAME), game=GAME, concurrency=64))
        run.until("the first call arrives", lambda: fleet[0].stats()["calls"])
        time.sleep(KILLED_AFTER_S)
        fleet[-1].kill()
        time.sleep(DEAD_S)
        fleet[-1].start()
        returned_s = time.time()
        run.end().checked()
        times = [[when_s for when_s, _, _ in engine.rows()] for engine in fleet]
        shares = fair_shares(times, returned_s)
        back_s = next((at_s for at_s, share in shares if share >= 0.8), 1e9)
        later = [share for at_s, share in shares if BACK_S <= at_s <= BACK_S + 8]
        identities = place.identities()
        began_s = min(chain.from_iterable(times))
        verdict.figures += [
            exactly("killed and revived: rows delivered, each once", len(set(identities)), rows),
            exactly("killed and revived: rows more than once", len(identities) - len(set(identities)), 0),
            exactly("killed and revived: failures in the sidecar", place.lines("out_failures.jsonl"), 0),
            at_most(f"back at 80 % of its fair share over {WINDOW_S:.0f} s, after", back_s, BACK_S, "s"),
            at_least("share of fair in the 8 s after that", min(later, default=0.0), 0.8),
        ]
        verdict.pictures.append(_picture(fleet, times, began_s))


def fair_shares(times: list[list[float]], from_s: float) -> list[tuple[float, float]]:
    """(seconds since `from_s`, share of its fair share) of the last endpoint, in windows that end each second."""
    last_s = max(chain.from_iterable(times))
    shares, end_s = [], from_s + WINDOW_S
    while end_s < last_s - 1.0:
        counts = [sum(end_s - WINDOW_S <= when_s < end_s for when_s in each) for each in times]
        shares.append((end_s - from_s, counts[-1] * len(times) / max(sum(counts), 1)))
        end_s += 1.0
    return shares


def _picture(fleet: list[EngineProcess], times: list[list[float]], began_s: float) -> Picture:
    dead = lives(fleet[-1], began_s)
    calls = [rate(f"endpoint {number + 1}", each, began_s) for number, each in enumerate(times)]
    busy = [load(f"endpoint {number + 1}", engine.history(), began_s) for number, engine in enumerate(fleet)]
    return Picture(
        "endpoint_dies",
        "One of four endpoints is killed and comes back",
        [Panel("calls per second", calls, spans=dead), Panel("requests in flight", busy, spans=dead)],
    )


def _slowness(scene: Scene, verdict: Verdict) -> None:
    rows, slots, seconds = scene.pick(3_500, 8_000), 16, 0.1
    say(f"  one of {FLEET} endpoints 10 times slower, {rows:,} rows")
    latency = {"ttft_s": seconds}
    with (
        engines(FLEET - 1, latency=latency, slots=slots, arrivals_kept=500_000) as fast,
        engines(1, latency={**latency, "speed": 0.1}, slots=slots, arrivals_kept=500_000) as slow,
    ):
        fleet = [*fast, *slow]
        place = scene.place("slow", fleet)
        placed = {"model.routing": "{placement: least_loaded}"}
        in_flight = (FLEET + 1) * slots  # a few wait at each endpoint while others are between two turns
        words = place.collect(place.tasks(rows, GAME), game=GAME, concurrency=in_flight, **placed)
        place.run(words).checked()
        histories = [engine.history() for engine in fleet]
        began_s = min(history["epoch_s"][0] for history in histories)
        wall_s = max(history["epoch_s"][-1] for history in histories) - began_s
        ideal_s = rows * TURNS * seconds / (slots * (FLEET - 1 + 0.1))
        verdict.figures += [
            at_most("one endpoint 10 times slower: wall clock / ideal", wall_s / ideal_s, 1.4),
            told("ideal: every slot busy all the time", ideal_s, "s"),
            told("calls by endpoint, the slow one last", ", ".join(f"{engine.stats()['calls']:,}" for engine in fleet)),
        ]
        names = [*(f"endpoint {number + 1}" for number in range(FLEET - 1)), "the slow one"]
        busy = [load(name, history, began_s) for name, history in zip(names, histories, strict=True)]
        panel = Panel("requests in flight", busy, levels=[(slots, "slots")])
        verdict.pictures.append(Picture("slow_endpoint", "One of four endpoints is 10 times slower", [panel]))


SPREAD = Scenario(1, "Sessions over four endpoints", PROMISE, (_balance, _death, _slowness))
