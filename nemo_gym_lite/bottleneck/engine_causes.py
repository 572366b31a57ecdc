"""Causes at the engines: caches that are too small, an endpoint that is slow or out, engines that are full."""

import math
from collections.abc import Iterator, Sequence
from statistics import median

from nemo_gym_lite.bottleneck.observations import LARGE, MOST, EndpointSeen, EngineSeen, Observations
from nemo_gym_lite.bottleneck.verdict import Verdict

CACHE_FULL, THRASH = 0.9, 0.05
"""Share of a KV cache in use, and preemptions for each answer, that are too many."""

SLOW = 2.0
"""So many times as long as the others' an endpoint's answers take if it is slow."""

LOST = 0.05
"""Share of a model's speed that one endpoint may cost without being told."""

SURE_AFTER = 10
"""Answers that an endpoint should have given, before it is called slow."""

ON_THE_WAY, FEW = 0.5, 8
"""Share of the requests in flight that may not have come to an engine, and requests of which none is told."""


def overfull(seen: Observations) -> Verdict | None:
    """Caches that throw work away, or are full with a queue before them."""
    engines = seen.engines
    queued, preempted = _queued(engines), sum(engine.preempted for engine in engines)
    cache_use = max((engine.cache_use for engine in engines), default=0.0)
    thrashes = preempted > max(1.0, THRASH * seen.answered)
    if not thrashes and not (queued and cache_use >= CACHE_FULL):
        return None
    events = f", {preempted} preemptions for {seen.answered} answers" if preempted else ""
    found = f"the engines' KV caches were full: {cache_use:.0%} in use{events}, {load_of(engines)}"
    lower = "max_model_len or max_output_tokens" if seen.auto else "+concurrency= or max_model_len"
    return Verdict("cache", found, f"lower {lower}, or give the cache more memory: gpu_memory_utilization")


def slow_endpoint(seen: Observations) -> Verdict | None:
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


def full_engines(seen: Observations) -> Verdict | None:
    """Engines that always had a next request: nothing here was short."""
    engines = seen.engines
    queued = _queued(engines)
    if len(queued) < max(1.0, MOST * len(engines)):
        return None
    running, waiting = sum(engine.running for engine in engines), sum(engine.waiting for engine in engines)
    advice = "nothing is wrong here: more replicas or GPUs, a smaller model or a lower max_output_tokens make it faster"
    if waiting > running and not seen.auto:
        enough = math.ceil(seen.in_flight - waiting + 0.1 * running)
        advice += f"; +concurrency={enough} would do as well"
    return Verdict("engines", f"the engines were full: {load_of(engines)} on average", advice)


def on_the_way(seen: Observations) -> Verdict | None:
    """Engines that have room and get little of what was sent to them."""
    sent = sum(endpoint.in_flight for endpoint in seen.endpoints if endpoint.engine is not None)
    there = sum(engine.running + engine.waiting for engine in seen.engines)
    if sent < FEW or there >= ON_THE_WAY * sent or seen.share("model") < LARGE:
        return None
    found = (
        f"of {sent:.0f} requests in flight {there:.0f} were at the engines, the others on the way or in their servers"
    )
    advice = "see whether those servers or a proxy before them are busy (top): --api-server-count or more replicas help"
    return Verdict("servers", found, advice)


def load_of(engines: Sequence[EngineSeen]) -> str:
    """What engines have to do, in words."""
    return f"{sum(each.running for each in engines):.0f} running, {sum(each.waiting for each in engines):.0f} waiting"


def _queued(engines: Sequence[EngineSeen]) -> list[EngineSeen]:
    return [engine for engine in engines if engine.queued >= MOST]


def _peers(endpoints: Sequence[EndpointSeen]) -> Iterator[tuple[EndpointSeen, list[EndpointSeen]]]:
    """Each endpoint with the others of its model that were used, the slowest first."""
    for one in sorted(endpoints, key=lambda endpoint: -endpoint.answer_s):
        yield one, [each for each in endpoints if each.model == one.model and each is not one and each.in_flight]


def _costs(one: EndpointSeen, others: Sequence[EndpointSeen], usual_s: float, looked_s: float) -> bool:
    """Whether an endpoint's slowness is no accident, and costs enough to be told."""
    lost = one.in_flight / usual_s - one.in_flight / one.answer_s
    speed = sum(each.in_flight / each.answer_s for each in (one, *others))
    return one.in_flight * looked_s >= SURE_AFTER * usual_s and lost >= LOST * speed
