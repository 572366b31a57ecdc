"""Scenario 3: concurrency=auto finds what the engines can do, never asks for much more, and follows when it changes."""

import os
import subprocess
import time
from typing import Any

from benchmarks.measured import ROOT, command_of, environment
from benchmarks.soak.curves import load, longest_above, of_manifest
from benchmarks.soak.engines import EngineProcess, engine
from benchmarks.soak.scene import Scenario, Scene, say
from benchmarks.soak.verdict import Line, Panel, Picture, Verdict, at_least, at_most, exactly, told

PROMISE = (
    "`auto` reaches ≥ 90 % of the best fixed concurrency's throughput for engines with 4, 64 and 512 slots, starting "
    "from the same default; never stays above 1.5 times the slots for 5 s; follows a halving of the slots. On real "
    "vLLM (CPU) within 10 % of the best of 1 to 64."
)
MOST_ABOVE_S = 5.0
LATENCY = {"ttft_s": 1.0, "jitter": 0.3}
SLOTS = (4, 64, 512)
FIXED = (1.0, 1.25, 2.0)
"""Fixed concurrencies to compare with, as multiples of the slots; an engine that only queues has its best there."""


def _compare(scene: Scene, verdict: Verdict) -> None:
    """Auto beside fixed numbers, for small and large engines."""
    auto_s, fixed_s = scene.pick(25, 90), scene.pick(8, 20)
    for slots in SLOTS:
        best, best_at = 0.0, 0
        for factor in FIXED[:1] if scene.quick else FIXED:
            concurrency = int(slots * factor)
            per_s, *_ = _play(scene, slots, fixed_s, concurrency)
            best, best_at = max((best, best_at), (per_s, concurrency))
        auto, history, manifest, began_s = _play(scene, slots, auto_s, "auto")
        until_s = began_s + auto_s * 10
        above_s = longest_above(history, 1.5 * slots, began_s, until_s)
        verdict.figures += [
            at_least(f"{slots} slots: rollouts/s with auto / best fixed ({best_at})", auto / best, 0.9),
            told(f"{slots} slots: rollouts/s with auto and with {best_at}", f"{auto:.1f} and {best:.1f}"),
            at_most(f"{slots} slots: longest time above 1.5 times the slots", above_s, MOST_ABOVE_S, "s"),
        ]
        levels = [(slots, "slots"), (1.5 * slots, "1.5 x")]
        verdict.pictures.append(
            _picture(f"auto_{slots}", f"concurrency=auto, {slots} slots", history, manifest, began_s, levels)
        )


def _play(
    scene: Scene, slots: int, seconds: float, concurrency: int | str
) -> tuple[float, dict[str, list[float]], dict[str, Any], float]:
    """A run as long as `seconds` at full speed: rollouts/s, the engine's history, the manifest, when it began."""
    rows = int(slots * seconds)
    say(f"  {slots} slots, concurrency={concurrency}, {rows:,} rows")
    with engine(slots=slots, latency=LATENCY) as only:
        place = scene.place(f"{slots}-{concurrency}", [only])
        place.run(place.collect(place.tasks(rows), concurrency=concurrency)).checked()
        history = only.history()
    found_s = 8.0 if scene.quick else 0.0  # a short run would be little but the way there
    skip_s = found_s if concurrency == "auto" else 2 * LATENCY["ttft_s"]
    return _rate(history, skip_s), history, place.manifest(), history["epoch_s"][0]


def _rate(history: dict[str, list[float]], skip_s: float = 0.0) -> float:
    """Answers per second from `skip_s` seconds after the first call to the last call, as the engine saw them."""
    columns = zip(history["epoch_s"], history["calls"], strict=True)
    began_s, ended_s = history["epoch_s"][0] + skip_s, max(when_s for when_s, calls in columns if calls)
    return _answered(history, began_s, ended_s) / (ended_s - began_s)


def _halving(scene: Scene, verdict: Verdict) -> None:
    """Half of the slots go in the middle of a run, and come back."""
    slots, part_s = 64, scene.pick(15, 60)
    say(f"  {slots} slots, then {slots // 2}, then {slots} again")
    with engine(slots=slots, latency=LATENCY) as only:
        place = scene.place("halving", [only])
        run = place.start(place.collect(place.tasks(int(slots * part_s * 2.6))))
        run.until("a call arrives", lambda: only.stats()["calls"])
        began_s = time.time()
        changes = [(began_s, slots), *_change(only, part_s, (slots // 2, slots))]
        run.end().checked()
        history, manifest = only.history(), place.manifest()
    ends = [when_s for when_s, _ in changes[1:]] + [history["epoch_s"][-1]]
    for (from_s, now), until_s in zip(changes, ends, strict=True):
        name = f"{slots} slots, then {slots // 2}, then {slots}: with {now} from second {from_s - began_s:.0f}"
        above_s = longest_above(history, 1.5 * now, from_s, until_s)
        verdict.figures.append(at_most(f"{name}, longest time above 1.5 times the slots", above_s, MOST_ABOVE_S, "s"))
    half_s, until_s = changes[1][0] + part_s / 2, changes[2][0]
    answered = _answered(history, half_s, until_s) / (until_s - half_s)
    most = slots / 2 / LATENCY["ttft_s"]
    verdict.figures.append(
        at_least("rollouts/s in the second half of that time / the most that is possible", answered / most, 0.9)
    )
    xs = [when_s - began_s for when_s, _ in changes] + [ends[-1] - began_s]
    held = Line("slots", xs, [now for _, now in changes] + [changes[-1][1]], steps=True, style="--")
    verdict.pictures.append(
        _picture(
            "auto_halving", "concurrency=auto, half of the slots go and come back", history, manifest, began_s, [], held
        )
    )


def _change(only: EngineProcess, part_s: float, slots: tuple[int, ...]) -> list[tuple[float, int]]:
    changes = []
    for now in slots:
        time.sleep(part_s)
        only.tell("slots", slots=now)
        changes.append((time.time(), now))
    return changes


def _answered(history: dict[str, list[float]], from_s: float, until_s: float) -> float:
    return sum(
        count
        for when_s, count in zip(history["epoch_s"], history["completed"], strict=True)
        if from_s <= when_s < until_s
    )


def _thrash(scene: Scene, verdict: Verdict) -> None:
    """A KV cache that holds fewer answers than there are slots: beyond, fewer answers come."""
    seconds, fitting = scene.pick(20, 75), 48
    settings = {"slots": 512, "kv_cache_tokens": fitting * 560, "latency": LATENCY, "answer_tokens": (30, 60)}
    found: dict[str, float] = {}
    for concurrency in ("auto",) if scene.quick else (fitting // 2, fitting * 3 // 4, fitting, fitting * 4, "auto"):
        rows = int(fitting * (seconds if concurrency == "auto" else 15))
        say(f"  a KV cache for about {fitting} answers, concurrency={concurrency}, {rows:,} rows")
        with engine(**settings) as only:
            place = scene.place(f"thrash-{concurrency}", [only])
            place.run(place.collect(place.tasks(rows), concurrency=concurrency)).checked()
            history, counts = only.history(), only.stats()
        found[str(concurrency)] = _rate(history)
    per_s = ", ".join(f"{name}: {value:.1f}" for name, value in found.items())
    verdict.figures += [
        told("a KV cache that thrashes: rollouts/s by concurrency", per_s),
        told("preemptions with auto", counts["preemptions"]),
    ]
    if len(found) > 1:
        best = max(value for name, value in found.items() if name != "auto")
        verdict.figures.append(told("auto / best fixed there", found["auto"] / best))
    began_s = history["epoch_s"][0]
    verdict.pictures.append(
        _picture(
            "auto_thrash",
            f"concurrency=auto, a KV cache for about {fitting} answers",
            history,
            place.manifest(),
            began_s,
            [(fitting, "fit")],
        )
    )


def _vllm(scene: Scene, verdict: Verdict) -> None:
    """Auto beside 1 to 64 on real vLLM, where `make test-vllm` has installed it: `benchmarks.vllm_concurrency`."""
    installed = (ROOT / os.environ.get("VLLM_VENV", ".venv-vllm") / "tiny-model").exists()
    if scene.quick or not installed:
        why = "the quick form leaves it out" if scene.quick else "`make test-vllm` installs it"
        verdict.notes.append(f"Real vLLM was not asked: {why}.")
        return
    say("  real vLLM on the CPU, auto and 1 to 64")
    command = [*command_of("benchmarks.vllm_concurrency"), "--rounds", "1"]
    ran = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    if not ran.stdout:
        raise RuntimeError(ran.stderr[-2000:])
    verdict.figures.append(exactly("real vLLM: auto is within 10 % of the best of 1 to 64", ran.returncode == 0, True))
    verdict.notes += ["Real vLLM on the CPU:", "", "```", ran.stdout.strip(), "```"]


def _picture(
    name: str,
    title: str,
    history: dict[str, list[float]],
    manifest: dict[str, Any],
    began_s: float,
    levels: list[tuple[float, str]],
    *more: Line,
) -> Picture:
    limits = of_manifest(manifest, "limit", began_s)
    lines = [load("in flight at the engine", history, began_s)]
    if limits[0]:
        lines.append(Line("limit of the collector", *limits, steps=True))
    lines += [load("running at the engine", history, began_s, "running"), *more]
    width_s = 1.0
    answered = [0.0] * (int((history["epoch_s"][-1] - began_s) / width_s) + 1)
    for when_s, count in zip(history["epoch_s"], history["completed"], strict=True):
        if when_s >= began_s:
            answered[int((when_s - began_s) / width_s)] += count / width_s
    rates = Line("answers", [number * width_s for number in range(len(answered))], answered, steps=True)
    return Picture(name, title, [Panel("requests", lines, levels=levels), Panel("answers per second", [rates])])


ADMISSION = Scenario(3, "concurrency=auto", PROMISE, (_compare, _halving, _thrash, _vllm))
