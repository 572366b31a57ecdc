"""Tells from what was seen what held a run's throughput back, with the figures, and what to change.

The first cause that holds is the one that is told: an engine that always has work in its queue would go no faster
whatever else were quicker, and raising the concurrency helps only where nothing else is short.
"""

from collections.abc import Callable
from dataclasses import replace

from nemo_gym_lite.bottleneck.engine_causes import full_engines, load_of, on_the_way, overfull, slow_endpoint
from nemo_gym_lite.bottleneck.loop_time import LoopTime
from nemo_gym_lite.bottleneck.observations import LARGE, MOST, Observations
from nemo_gym_lite.bottleneck.verdict import Verdict

BUSY, RAN = 0.85, 0.25
"""Shares of its time after which an event loop delays everybody: it has something to do, and it runs. One that runs
less, and waits for a free core whenever it wakes up, delays everybody by milliseconds only."""

REFUSED = 0.05
"""Share of requests refused. Below, it is what keeps a service full."""

BINDS = 0.8
"""Share of the limit that is in flight where the limit is what binds."""

GROWING = 1.25
"""A limit that ends so many times above its average was still being raised."""

_OF_ENVIRONMENTS = frozenset(("seed", "tool", "step", "reset", "close"))
"""Stages, by their first word, in which the environment is what a rollout waits for."""


def held_back_by(seen: Observations) -> Verdict:
    """What held throughput back."""
    return next(found for rule in _RULES if (found := rule(seen)) is not None)


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


def _engine_inside(seen: Observations) -> Verdict | None:
    """A collector that is kept busy by the engine in its process, whose requests and tokens it translates."""
    if not seen.own_engine or (found := _busy_processes(seen) or on_the_way(seen)) is None:
        return None
    advice = "it also translates for the engine: local_vllm_model has processes of its own for that (api_server_count)"
    return replace(found, advice=advice)


def _crowded_machine(seen: Observations) -> Verdict | None:
    """A collector with little to do that is kept from doing it, so that rollouts end and no others begin."""
    if seen.players.waited_s < LARGE or seen.filled >= BINDS:
        return None
    found = f"the collector waited for a free core for {seen.players.waited_s:.0%} of the time"
    return Verdict("machine", found, "end what else runs on this machine, or play on another one than the engines do")


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
    engines = seen.engines
    idle = f"the engines had no queue to speak of ({load_of(engines)})" if engines else "no request was refused"
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
    engines = seen.engines
    load = load_of(engines) if engines else f"{seen.in_flight:.0f} of {seen.limit} rollouts in flight"
    found = f"nothing but the speed of the engines ({load})"
    return Verdict(
        "engines", found, "more replicas or GPUs, a smaller model or a lower max_output_tokens make it faster"
    )


def _is_busy(loop: LoopTime) -> bool:
    return sum(loop) >= BUSY and loop.ran_s >= RAN


def _busy(loop: LoopTime) -> str:
    crowded = f" ({loop.waited_s:.0%} waiting for a free core)" if loop.waited_s >= 0.1 else ""
    return f"{sum(loop):.0%}{crowded}"


def _environment(seen: Observations) -> tuple[str, float]:
    """What rollouts waited for longest in their environment, and the environment's share of their time."""
    waits = {wait: seen.share(wait) for wait in seen.waits if wait.split()[0] in _OF_ENVIRONMENTS}
    return max(waits, key=lambda wait: waits[wait], default=""), sum(waits.values())


_RULES: tuple[Callable[[Observations], Verdict | None], ...] = (
    overfull,
    slow_endpoint,
    full_engines,
    _engine_inside,
    _busy_processes,
    _crowded_machine,
    _limits,
    _checks,
    _tools,
    on_the_way,
    _nothing_left,
    _concurrency,
    _nothing,
)
