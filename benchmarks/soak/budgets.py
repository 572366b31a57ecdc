"""Scenario 4: rates are kept to the request, and budgets to what is in flight."""

import time
from itertools import accumulate, starmap

from benchmarks.soak.commands import Command, Place
from benchmarks.soak.curves import most_within
from benchmarks.soak.engines import EngineProcess, engine, engines
from benchmarks.soak.scene import Scenario, Scene, say
from benchmarks.soak.verdict import Line, Panel, Picture, Verdict, at_least, at_most, exactly, told

PROMISE = (
    "Requests per any 60 s never exceed the RPM at the engine; tokens exceed TPM by at most one request; a $1 budget "
    "spends at most $1 plus what was in flight."
)
MINUTE_S = 60.0
RPM, TPM = 600, 200_000
TOKENS = 545  # of one rollout, about
USD_PER_MILLION = 3.5
LATENCY = {"ttft_s": 0.3, "jitter": 0.5}


def _rates(scene: Scene, verdict: Verdict) -> None:
    """Four runs at once, each with an engine of its own."""
    seconds = scene.pick(80, 150)
    by_requests, by_tokens = int(RPM * seconds / 60), int(TPM / TOKENS * seconds / 60)
    say(f"  {RPM} requests and {TPM:,} tokens per minute, for {seconds} s")
    limited = {"requests_per_minute": RPM}
    with engines(3, latency=LATENCY) as plain, engine(latency=LATENCY, limits=limited) as hosted:
        configured = {"model.requests_per_minute": RPM}
        names = ("rpm", "rpm-workers", "tpm", "hosted")
        places = [scene.place(name, [each]) for name, each in zip(names, [*plain, hosted], strict=True)]
        runs = [
            _start(places[0], by_requests, **configured),
            _start(places[1], by_requests, num_workers=2, **configured),
            _start(places[2], by_tokens, **{"model.tokens_per_minute": TPM}),
            _start(places[3], by_requests),
        ]
        codes = [run.end(seconds * 4).code for run in runs]
        rows = [[row for row in each.rows() if row[2]] for each in plain]
        refused, arrived = hosted.stats()["refused"], hosted.stats()["calls"]
    largest = max(tokens for _, tokens, _ in rows[2])
    requests = [[(when_s, 1.0) for when_s, *_ in each] for each in rows]
    tokens = [(when_s, float(taken)) for when_s, taken, _ in rows[2]]
    most = [max(total for _, total in most_within(each, MINUTE_S)) for each in (requests[0], requests[1], tokens)]
    verdict.figures += [
        at_most(f"requests_per_minute: {RPM}: most in any 60 s at the engine", most[0], RPM),
        at_most("the same with two workers", most[1], RPM),
        told("requests per minute on average, of one process and of two workers", ", ".join(map(_average, rows[:2]))),
        at_most(f"tokens_per_minute: {TPM:,}: most in any 60 s at the engine", most[2], TPM + largest),
        told("tokens of the largest request, which may be too much", largest),
        exactly("rates: exit codes", codes, [0, 0, 0, 0]),
        told(f"an API that enforces {RPM} a minute and tells in headers: refused, of calls", f"{refused} of {arrived}"),
    ]
    began_s = min(when_s for each in rows for when_s, *_ in each)
    verdict.pictures.append(_picture([requests[0], requests[1], tokens], began_s))


def _start(place: Place, rows: int, **options: object) -> Command:
    return place.start(place.collect(place.tasks(rows), concurrency=50, **options))


def _average(rows: list[tuple[float, int, int]]) -> str:
    return f"{(len(rows) - 1) * 60 / (rows[-1][0] - rows[0][0]):.0f}"


def _picture(series: list[list[tuple[float, float]]], began_s: float) -> Picture:
    def trailing(label: str, amounts: list[tuple[float, float]]) -> Line:
        sums = most_within(amounts, MINUTE_S)
        return Line(label, [when_s - began_s for when_s, _ in sums], [total for _, total in sums])

    labels = ("one process", "two workers")
    requests = list(starmap(trailing, zip(labels, series[:2], strict=True)))
    return Picture(
        "rates",
        "Requests and tokens of the last 60 seconds, at the engine",
        [
            Panel("requests", requests, levels=[(RPM, "allowed")]),
            Panel("tokens", [trailing("one process", series[2])], levels=[(TPM, "allowed")]),
        ],
    )


def _dollar(scene: Scene, verdict: Verdict) -> None:
    """A dollar, half of which a killed run has spent; then more money."""
    in_flight, rows = 32, 1_200
    say("  a budget of $1")
    with engine(latency=LATENCY) as only:
        place = scene.place("dollar", [only])
        _write_prices(place)
        tasks = place.tasks(rows)
        words = place.collect(tasks, concurrency=in_flight, max_cost_usd=1, prices="prices.yaml")
        run = place.start(words)
        run.until("half a dollar is spent", lambda: _spent_usd(only) > 0.5)
        moments = [(time.time(), "killed")]
        run.kill()
        ended = place.run(words)
        moments.append((time.time(), "stopped by its budget"))
        spent_usd = _spent_usd(only)
        most_usd = max(tokens for _, tokens, _ in only.rows()) * USD_PER_MILLION / 1e6
        again = place.run(words)
        nothing_usd = _spent_usd(only) - spent_usd
        place.run([word.replace("max_cost_usd=1", "max_cost_usd=100") for word in words]).checked()
        calls = only.rows()
    verdict.figures += [
        exactly("a $1 budget: exit code", ended.code, 4),
        at_most(
            "a $1 budget: dollars spent, at the engine, by a killed run and the next",
            spent_usd,
            1 + 2 * in_flight * most_usd,
        ),
        at_least("a $1 budget: dollars spent", spent_usd, 0.95),
        told("dollars that were in flight at the kill and at the stop, at most", 2 * in_flight * most_usd),
        exactly("the same command once more: exit code, dollars spent", (again.code, nothing_usd), (4, 0.0)),
        exactly("with a larger budget: rows, each once", len(set(place.identities())), rows),
    ]
    began_s = calls[0][0]
    spent = accumulate(tokens * USD_PER_MILLION / 1e6 for _, tokens, _ in calls)
    curve = Line("dollars spent", [when_s - began_s for when_s, *_ in calls], list(spent), steps=True)
    marks = [(when_s - began_s, name) for when_s, name in moments]
    panel = Panel("US dollars, at the engine", [curve], levels=[(1.0, "budget")], marks=marks)
    verdict.pictures.append(Picture("dollar", "A run is killed, goes on, stops at $1, and goes on with more", [panel]))


def _write_prices(place: Place) -> None:
    price = f"input: {USD_PER_MILLION}, cached_input: {USD_PER_MILLION}, output: {USD_PER_MILLION}"
    (place.folder / "prices.yaml").write_text(f'soak: {{{price}, date: "2026-11-20", source: "made up"}}\n')


def _spent_usd(only: EngineProcess) -> float:
    counts = only.stats()
    return float((counts["prompt_tokens"] + counts["generation_tokens"]) * USD_PER_MILLION / 1e6)


def _tokens_and_seconds(scene: Scene, verdict: Verdict) -> None:
    in_flight, budget, wall_s = 32, 100_000, 5.0
    say("  budgets of tokens and of seconds")
    with engine(latency=LATENCY) as only:
        place = scene.place("tokens", [only])
        words = place.collect(place.tasks(1_200), concurrency=in_flight, max_total_tokens=budget)
        code = place.run(words).code
        counts = only.stats()
        largest = max(tokens for _, tokens, _ in only.rows())
    spent = counts["prompt_tokens"] + counts["generation_tokens"]
    verdict.figures += [
        exactly("a token budget: exit code", code, 4),
        at_most(f"a budget of {budget:,} tokens: tokens at the engine", spent, budget + in_flight * largest),
    ]
    with engine(latency=LATENCY) as only:
        place = scene.place("seconds", [only])
        run = place.start(place.collect(place.tasks(5_000), concurrency=in_flight, max_wall_s=wall_s))
        run.until("a call arrives", lambda: only.stats()["calls"])
        began_s = time.time()
        code = run.end().code
        times = [when_s for when_s, *_ in only.rows()]
    verdict.figures += [
        exactly("a budget of seconds: exit code", code, 4),
        at_most(f"a budget of {wall_s:.0f} s: the last call began after", max(times) - began_s, wall_s + 1.0, "s"),
    ]


BUDGETS = Scenario(4, "Rates and budgets", PROMISE, (_rates, _dollar, _tokens_and_seconds))
