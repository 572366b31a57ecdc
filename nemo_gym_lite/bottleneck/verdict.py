"""Tells from what was seen what held a run's throughput back, with the figures, and what to change.

The first cause that holds is the one that is told: an engine that always has work in its queue would go no faster
whatever else were quicker, and raising the concurrency helps only where nothing else is short.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from nemo_gym_lite.bottleneck.loop_time import LoopTime
from nemo_gym_lite.bottleneck.observations import EndpointSeen, EngineSeen, Observations
from nemo_gym_lite.clients import Json

MOST = 0.5
"""Share of the readings, the endpoints or the time that counts as most of them."""

LARGE = 0.4
"""Share of the rollouts' time that is worth a word."""

BUSY, RAN = 0.85, 0.25
"""Shares of its time after which an event loop delays everybody: it has something to do, and it runs. One that runs
less, and waits for a free core whenever it wakes up, delays everybody by milliseconds only."""

REFUSED = 0.05
"""Share of requests refused. Below, it is what keeps a service full."""

CACHE_FULL, THRASH = 0.9, 0.05
"""Share of a KV cache in use, and preemptions for each answer, that are too many."""

SLOW = 2.0
"""So many times as long as the others' an endpoint's answers take if it is slow."""

LOST = 0.05
"""Share of a model's speed that one endpoint may cost without being told."""

SURE_AFTER = 10
"""Answers that an endpoint should have given, before it is called slow."""

BINDS = 0.9
"""Share of the limit that is in flight where the limit is what binds."""

GROWING = 1.25
"""A limit that ends so many times above its average was still being raised."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What held a run back.

    Attributes:
        cause: In a word, for programs.
        found: What was seen, with figures.
        advice: What to change.
    """

    cause: str
    found: str
    advice: str

    def __str__(self) -> str:
        """As two lines for a terminal."""
        return f"what held throughput back: {self.found}\n  {self.advice}"

    def as_json(self) -> Json:
        """For the run's record."""
        return {"cause": self.cause, "found": self.found, "advice": self.advice}


def verdict(seen: Observations) -> Verdict:
    """What held throughput back."""
    return next(found for rule in _RULES if (found := rule(seen)) is not None)


def _overfull(seen: Observations) -> Verdict | None:
    """Caches that throw work away, or are full with a queue before them."""
    engines = _engines(seen)
    queued, preempted = _queued(engines), sum(engine.preempted for engine in engines)
    cache_use = max((engine.cache_use for engine in engines), default=0.0)
    thrashes = preempted > max(1.0, THRASH * seen.answered)
    if not thrashes and not (queued and cache_use >= CACHE_FULL):
        return None
    events = f", {preempted} preemptions for {seen.answered} answers" if preempted else ""
    found = f"the engines' KV caches were full: {cache_use:.0%} in use{events}, {_load(engines)}"
    lower = "max_model_len or max_output_tokens" if seen.auto else "+concurrency= or max_model_len"
    return Verdict("cache", found, f"lower {lower}, or give the cache more memory: gpu_memory_utilization")


def _slow_endpoint(seen: Observations) -> Verdict | None:
    """One endpoint of a model that is much slower than its others, or that is not there."""
    if seen.share("model") + seen.share("leave") < LARGE:
        return None
    for one, others in _peers(seen.endpoints):
        if one.down >= LOST * (1 + len(others)):
            error = f" ({one.last_error.splitlines()[0]})" if one.last_error else ""
            found = f"{one.base_url} was out for {one.down:.0%} of the time{error}"
            return Verdict("endpoint_down", found, "bring it back, or take it off the list of endpoints")
        usual_s = median(other.answer_s for other in others) if others else math.inf
        if one.answer_s > SLOW * usual_s and _costs(one, others, usual_s, seen.looked_s):
            took = f"took {one.answer_s:.1f} s for an answer" if one.answered else "answered nothing"
            engine = f", {one.engine.waiting:.0f} in its queue" if one.engine else ""
            found = f"{one.base_url} {took}, the others {usual_s:.1f} s ({one.in_flight:.0f} in flight there{engine})"
            advice = "see what else its machine does and how it was started, or take it off the list of endpoints"
            return Verdict("slow_endpoint", found, advice)
    return None


def _full_engines(seen: Observations) -> Verdict | None:
    """Engines that always had a next request: nothing here was short."""
    engines = _engines(seen)
    queued = _queued(engines)
    if len(queued) < max(1.0, MOST * len(engines)):
        return None
    running, waiting = sum(engine.running for engine in engines), sum(engine.waiting for engine in engines)
    advice = "nothing is wrong here: more replicas or GPUs, a smaller model or a lower max_output_tokens make it faster"
    if waiting > running and not seen.auto:
        enough = math.ceil(seen.in_flight - waiting + 0.1 * running)
        advice += f"; +concurrency={enough} would do as well"
    return Verdict("engines", f"the engines were full: {_load(engines)} on average", advice)


def _busy_processes(seen: Observations) -> Verdict | None:
    """Event loops without a free moment, so that answers waited for us."""
    if _is_busy(seen.players):
        who = (
            "the collector's event loop was" if seen.workers == 1 else f"the event loops of {seen.workers} workers were"
        )
        held = f", for up to {seen.held_s:.1f} s at a time" if seen.held_s >= 0.1 else ""
        advice = (
            f"+num_workers={2 * seen.workers} lets more processes play, if there are cores; checks and tools that "
            "compute belong into processes of their own: verify_pool, `placement: far`"
        )
        return Verdict("collector", f"{who} busy for {_busy(seen.players)} of the time{held}", advice)
    if seen.workers > 1 and _is_busy(seen.collector):
        found = (
            f"the collector, which plans and writes for its workers, was busy for {_busy(seen.collector)} of the time"
        )
        return Verdict(
            "collector", found, "more workers do not help; divide the run with +shard= over several collectors"
        )
    return None


def _limits(seen: Observations) -> Verdict | None:
    """Services that refuse, and limits of our own that hold calls back."""
    asked, per_minute = seen.answered + seen.refused, 60 * seen.answered / max(seen.looked_s, 1e-9)
    if seen.refused >= 2 and seen.refused >= REFUSED * asked:
        found = f"{seen.refused} of {asked} requests were refused (429 or 503); {per_minute:.0f} per minute got through"
        lower = "" if seen.auto else "a lower +concurrency= spares refusals; "
        more = "requests_per_minute and tokens_per_minute keep to a limit"
        return Verdict("rate_limited", found, f"{lower}{more}; a higher limit or another endpoint makes it faster")
    if seen.share("leave") >= LARGE and seen.endpoints:
        found = (
            f"calls waited for leave to be sent for {seen.share('leave'):.0%} of the rollouts' time; "
            f"{per_minute:.0f} per minute were answered"
        )
        advice = "raise requests_per_minute or tokens_per_minute if the service allows more, or add endpoints"
        return Verdict("own_limits", found, advice)
    return None


def _checks(seen: Observations) -> Verdict | None:
    if (share := seen.share("verify")) < LARGE or share < _environment(seen)[1]:
        return None
    found = (
        f"checks took {share:.0%} of the rollouts' time: "
        f"{seen.waits['verify']:.0f} of {seen.in_flight:.0f} in flight waited for one"
    )
    advice = "cache what verify() looks up, give it (more) processes with verify_pool, or check later: verify=deferred"
    return Verdict("verify", found, advice)


def _tools(seen: Observations) -> Verdict | None:
    slowest, share = _environment(seen)
    if share < LARGE:
        return None
    found = (
        f"the environment took {share:.0%} of the rollouts' time: "
        f"{seen.waits[slowest]:.0f} of {seen.in_flight:.0f} in flight waited for {slowest}"
    )
    advice = "make that faster (num_workers of its server), or raise +concurrency= if it bears more at once"
    return Verdict("environment", found, advice)


def _nothing_left(seen: Observations) -> Verdict | None:
    if seen.begun < MOST:
        return None
    found = f"for {seen.begun:.0%} of the time no rollout was left to begin, and {seen.in_flight:.0f} were in flight"
    advice = "more tasks or repeats in one run fill the engines; a few very long answers: lower max_output_tokens"
    return Verdict("last_rollouts", found, advice)


def _concurrency(seen: Observations) -> Verdict | None:
    """The limit, as nothing else is short: what was allowed was in flight, and no engine had anything waiting."""
    if seen.filled < BINDS:
        return None
    engines = _engines(seen)
    idle = f"the engines had no queue to speak of ({_load(engines)})" if engines else "no request was refused"
    if not seen.auto:
        found = f"{seen.filled * seen.limit:.0f} of {seen.limit} rollouts were in flight, and {idle}"
        return Verdict("concurrency", found, "raise +concurrency=, or leave it out: auto finds the number")
    if seen.limit < GROWING * seen.mean_limit:
        return None  # auto has tried more, and it did not help
    found = (
        f"auto was still raising the limit, {seen.mean_limit:.0f} on average and {seen.limit} at the end, and {idle}"
    )
    return Verdict("still_growing", found, f"a longer run will be faster, or begin with +concurrency={seen.limit}")


def _nothing(seen: Observations) -> Verdict:
    agents = [wait for wait in seen.waits if wait.startswith("agent ")]
    if agents and seen.share(agents[0]) >= MOST:
        found = f"rollouts played in {agents[0]}, which does not say what they wait for"
        return Verdict("agent", found, "raise +concurrency= if its engines have room; ng_status shows their load")
    engines = _engines(seen)
    load = _load(engines) if engines else f"{seen.in_flight:.0f} of {seen.limit} rollouts in flight"
    found = f"nothing but the speed of the engines ({load})"
    return Verdict(
        "engines", found, "more replicas or GPUs, a smaller model or a lower max_output_tokens make it faster"
    )


_RULES: tuple[Callable[[Observations], Verdict | None], ...] = (
    _overfull,
    _slow_endpoint,
    _full_engines,
    _busy_processes,
    _limits,
    _checks,
    _tools,
    _nothing_left,
    _concurrency,
    _nothing,
)


def _engines(seen: Observations) -> list[EngineSeen]:
    """Those that said anything."""
    return [endpoint.engine for endpoint in seen.endpoints if endpoint.engine is not None]


def _queued(engines: Sequence[EngineSeen]) -> list[EngineSeen]:
    return [engine for engine in engines if engine.queued >= MOST]


def _load(engines: Sequence[EngineSeen]) -> str:
    return f"{sum(each.running for each in engines):.0f} running, {sum(each.waiting for each in engines):.0f} waiting"


def _peers(endpoints: Sequence[EndpointSeen]) -> Iterator[tuple[EndpointSeen, list[EndpointSeen]]]:
    """Each endpoint with the others of its model, the slowest first."""
    for one in sorted(endpoints, key=lambda endpoint: -endpoint.answer_s):
        yield one, [each for each in endpoints if each.model == one.model and each is not one]


def _is_busy(loop: LoopTime) -> bool:
    return sum(loop) >= BUSY and loop.ran_s >= RAN


def _busy(loop: LoopTime) -> str:
    crowded = f" ({loop.waited_s:.0%} waiting for a free core)" if loop.waited_s >= 0.1 else ""
    return f"{sum(loop):.0%}{crowded}"


def _costs(one: EndpointSeen, others: Sequence[EndpointSeen], usual_s: float, looked_s: float) -> bool:
    """Whether an endpoint's slowness is no accident, and costs enough to be told."""
    lost = one.in_flight / usual_s - one.in_flight / one.answer_s
    speed = sum(each.in_flight / each.answer_s for each in (one, *others))
    return one.in_flight * looked_s >= SURE_AFTER * usual_s and lost >= LOST * speed


def _environment(seen: Observations) -> tuple[str, float]:
    """What rollouts waited for longest in their environment, and the environment's share of their time."""
    waits = {wait: seen.share(wait) for wait in seen.waits if wait.split()[0] in _OF_ENVIRONMENTS}
    return max(waits, key=lambda wait: waits[wait], default=""), sum(waits.values())


_OF_ENVIRONMENTS = frozenset(("seed", "tool", "step", "reset", "close"))
"""Stages, by their first word, in which the environment is what a rollout waits for."""
