"""What is told of a run: a table of what was seen, and of what the user reads."""

import math
from dataclasses import replace
from itertools import product

import pytest

from nemo_gym_lite.bottleneck.causes import held_back_by
from nemo_gym_lite.bottleneck.loop_time import LoopTime
from nemo_gym_lite.bottleneck.observations import EndpointSeen, EngineSeen, Observations

A, B, C = (f"http://10.0.0.{n}:8000/v1" for n in (1, 2, 3))

IDLE, FULL = EngineSeen(30, 0), EngineSeen(64, 30, queued=1.0, cache_use=0.4)


def endpoint(url=A, engine=IDLE, in_flight=30.0, answer_s=1.0, looked_s=100.0, **more):
    answered = round(in_flight * looked_s / answer_s)
    return EndpointSeen("policy_model", url, in_flight, answered, answer_s, engine=engine, **more)


def seen(**changes):
    """A run of 100 s in which 64 rollouts are in flight, all of them at the model."""
    usual = Observations(
        looked_s=100.0,
        in_flight=64.0,
        waits={"model": 64.0},
        limit=64,
        mean_limit=64.0,
        filled=1.0,
        answered=6400,
        endpoints=(endpoint(),),
    )
    return replace(usual, **changes)


def pair(one, other):
    return (endpoint(A, **one), endpoint(B, **other))


CASES = {
    "a limit that is reached while nothing waits": (
        seen(),
        "concurrency",
        "64 of 64 rollouts were in flight, and the engines had no queue to speak of (30 running, 0 waiting)",
        "raise +concurrency=, or leave it out: auto finds the number",
    ),
    "the same where no engine tells anything": (
        seen(endpoints=(endpoint(engine=None),)),
        "concurrency",
        "64 of 64 rollouts were in flight, and no request was refused",
        "raise +concurrency=",
    ),
    "the same with models behind servers": (seen(endpoints=()), "concurrency", "no request was refused", "raise"),
    "a queue now and then": (
        seen(endpoints=(endpoint(engine=EngineSeen(60, 4, queued=0.3)),)),
        "concurrency",
        "no queue to speak of (60 running, 4 waiting)",
        "raise +concurrency=",
    ),
    "auto that was still on its way": (
        seen(auto=True, limit=64, mean_limit=30.0),
        "still_growing",
        "auto was still raising the limit, 30 on average and 64 at the end",
        "begin with +concurrency=64",
    ),
    "auto that has arrived": (
        seen(auto=True),
        "engines",
        "nothing but the speed of the engines (30 running, 0 waiting)",
        "more replicas or GPUs",
    ),
    "engines with a queue": (
        seen(endpoints=(endpoint(engine=FULL),)),
        "engines",
        "the engines were full: 64 running, 30 waiting on average",
        "nothing is wrong here",
    ),
    "engines with a queue longer than what runs": (
        seen(in_flight=200.0, endpoints=(endpoint(engine=replace(FULL, waiting=136)),)),
        "engines",
        "64 running, 136 waiting",
        "; +concurrency=71 would do as well",
    ),
    "one of three engines with a queue": (
        seen(endpoints=(endpoint(A, FULL), endpoint(B), endpoint(C))),
        "concurrency",
        "124 running, 30 waiting",
        "raise +concurrency=",
    ),
    "a cache that is full, and a queue before it": (
        seen(endpoints=(endpoint(engine=replace(FULL, cache_use=0.97)),)),
        "cache",
        "the engines' KV caches were full: 97% in use, 64 running, 30 waiting",
        "lower +concurrency= or max_model_len, or give the cache more memory: gpu_memory_utilization",
    ),
    "a cache that throws work away": (
        seen(auto=True, endpoints=(endpoint(engine=EngineSeen(30, 0, cache_use=0.8, preempted=700)),)),
        "cache",
        "80% in use, 700 preemptions for 6400 answers",
        "lower max_model_len or max_output_tokens",
    ),
    "a few preemptions": (
        seen(endpoints=(endpoint(engine=replace(IDLE, preempted=9)),)),
        "concurrency",
        "no queue",
        "raise +concurrency=",
    ),
    "a full cache that all fits into": (
        seen(endpoints=(endpoint(engine=replace(IDLE, cache_use=0.99)),)),
        "concurrency",
        "no queue",
        "raise +concurrency=",
    ),
    "a slow endpoint": (
        seen(endpoints=pair({"answer_s": 1.2}, {"answer_s": 4.0, "engine": FULL})),
        "slow_endpoint",
        f"{B} took 4.0 s for an answer, the others 1.2 s (30 in flight there, 30 in its queue)",
        "take it off the list of endpoints",
    ),
    "an endpoint that answers nothing": (
        seen(endpoints=(EndpointSeen("policy_model", A, 30.0, 0), endpoint(B))),
        "slow_endpoint",
        f"{A} answered nothing, the others 1.0 s (30 in flight there)",
        "see what else its machine does",
    ),
    "an endpoint that is somewhat slower": (
        seen(endpoints=pair({"answer_s": 1.2}, {"answer_s": 2.0})),
        "concurrency",
        "60 running",
        "raise",
    ),
    "an endpoint of which little was seen": (
        seen(endpoints=pair({}, {"answer_s": 20.0, "in_flight": 0.05})),
        "concurrency",
        "60 running",
        "raise",
    ),
    "a slow endpoint of another model": (
        seen(endpoints=(endpoint(), replace(endpoint(B, answer_s=9.0), model="judge_model"))),
        "concurrency",
        "60 running",
        "raise",
    ),
    "an endpoint that was out": (
        seen(endpoints=pair({}, {"in_flight": 1.0, "down": 0.45, "last_error": "cannot connect to it\nat all"})),
        "endpoint_down",
        f"{B} was out for 45% of the time (cannot connect to it)",
        "bring it back",
    ),
    "the only endpoint that is out": (
        seen(waits={"leave": 60.0, "model": 4.0}, endpoints=(endpoint(down=0.6, last_error="cannot connect"),)),
        "endpoint_down",
        f"{A} was out for 60% of the time (cannot connect)",
        "bring it back",
    ),
    "one of many that was out for a moment": (
        seen(endpoints=(*(endpoint(f"http://{n}/v1") for n in range(15)), endpoint(down=0.4))),
        "concurrency",
        "480 running",
        "raise",
    ),
    "a collector that is busy": (
        seen(players=LoopTime(0.96, 0.01), held_s=0.43),
        "collector",
        "the collector's event loop was busy for 97% of the time, for up to 0.4 s at a time",
        "+num_workers=2 lets more processes play",
    ),
    "a collector that is busy with the engine in it": (
        seen(players=LoopTime(0.96, 0.01), own_engine=True),
        "collector",
        "the collector's event loop was busy for 97% of the time",
        "it also translates for the engine: local_vllm_model",
    ),
    "workers that are busy": (
        seen(players=LoopTime(0.55, 0.35), workers=4, collector=LoopTime(0.3)),
        "collector",
        "the event loops of 4 workers were busy for 90% (35% waiting for a free core) of the time",
        "+num_workers=8",
    ),
    "a collector whose workers are not busy": (
        seen(players=LoopTime(0.5), workers=8, collector=LoopTime(0.95)),
        "collector",
        "the collector, which plans and writes for its workers, was busy for 95% of the time",
        "+shard=",
    ),
    "a crowded machine, on which the collector has little to do": (
        seen(players=LoopTime(0.1, 0.85)),
        "concurrency",
        "64 of 64",
        "raise +concurrency=",
    ),
    "a crowded machine, on which rollouts end and no others begin": (
        seen(players=LoopTime(0.02, 0.62), filled=0.3),
        "machine",
        "the collector waited for a free core for 62% of the time",
        "end what else runs on this machine",
    ),
    "engines that get little of what is sent": (
        seen(endpoints=(endpoint(in_flight=60, engine=EngineSeen(4, 2, queued=0.3)),)),
        "servers",
        "of 60 requests in flight 6 were at the engines, the others on the way or in their servers",
        "--api-server-count or more replicas help",
    ),
    "an engine that two models share and that gets little of what is sent": (
        seen(
            endpoints=tuple(replace(endpoint(engine=EngineSeen(20, 0)), model=model) for model in ("policy", "judge"))
        ),
        "servers",
        "of 60 requests in flight 20 were at the engines",
        "--api-server-count or more replicas help",
    ),
    "a busy collector before full engines": (
        seen(players=LoopTime(0.97), endpoints=(endpoint(engine=FULL),)),
        "engines",
        "64 running, 30 waiting",
        "nothing is wrong here",
    ),
    "a service that refuses": (
        seen(answered=500, refused=100, endpoints=(endpoint(engine=None),)),
        "rate_limited",
        "100 of 600 requests were refused (429 or 503); 300 per minute got through",
        "a lower +concurrency= spares refusals; requests_per_minute and tokens_per_minute keep to a limit",
    ),
    "a service that refuses a few": (seen(refused=50), "concurrency", "64 of 64", "raise"),
    "limits of our own": (
        seen(answered=100, waits={"model": 4.0, "leave": 60.0}, endpoints=(endpoint(engine=None),)),
        "own_limits",
        "calls waited for leave to be sent for 94% of the rollouts' time; 60 per minute were answered",
        "raise requests_per_minute or tokens_per_minute",
    ),
    "a model of the user's own, which does not say where its calls are": (
        seen(waits={"leave": 64.0}, endpoints=()),
        "concurrency",
        "64 of 64",
        "raise +concurrency=",
    ),
    "checks that take long": (
        seen(waits={"model": 20.0, "verify": 44.0}),
        "verify",
        "checks took 69% of the rollouts' time: 44 of 64 in flight waited for one",
        "cache what verify() looks up, give it (more) processes with verify_pool, or check later: verify=deferred",
    ),
    "checks that take long while the engines are full": (
        seen(in_flight=200.0, waits={"model": 100.0, "verify": 100.0}, endpoints=(endpoint(engine=FULL),)),
        "engines",
        "the engines were full",
        "nothing is wrong here",
    ),
    "tools that take long": (
        seen(waits={"model": 20.0, "tool look_up": 30.0, "tool add": 9.0, "verify": 5.0}),
        "environment",
        "the environment took 61% of the rollouts' time: 30 of 64 in flight waited for tool look_up",
        "num_workers of its server",
    ),
    "steps of a game that take long": (
        seen(waits={"model": 10.0, "step": 50.0, "seed": 4.0}),
        "environment",
        "waited for step",
        "raise +concurrency= if it bears more at once",
    ),
    "too few rollouts": (
        seen(in_flight=7.0, waits={"model": 7.0}, begun=0.8, filled=0.95),
        "last_rollouts",
        "for 80% of the time no rollout was left to begin, and 7 were in flight",
        "more tasks or repeats in one run",
    ),
    "agents that tell nothing": (
        seen(waits={"agent at http://10.0.0.9:7000": 64.0}, filled=0.5, endpoints=()),
        "agent",
        "rollouts played in agent at http://10.0.0.9:7000, which does not say what they wait for",
        "ng_status",
    ),
    "nothing at all": (
        seen(in_flight=0.0, waits={}, filled=0.0, endpoints=()),
        "engines",
        "nothing but the speed of the engines (0 of 64 rollouts in flight)",
        "more replicas",
    ),
}


def test_whatever_was_seen_something_is_told():
    engines = [None, EngineSeen(0, 0), EngineSeen(0, 9, 1.0, 1.0, 9), EngineSeen(8, 0)]
    numbers = [(0.0, 0), (0.0, 5), (3.0, 0), (3.0, 5)]
    ends = [
        EndpointSeen("m", A, in_flight, answered, in_flight / answered if answered else math.inf, engine=engine)
        for engine, (in_flight, answered) in product(engines, numbers)
    ]
    for one, other, looked_s, in_flight in product(ends, ends, (0.0, 30.0), (0.0, 6.0)):
        run = seen(endpoints=(one, other), looked_s=looked_s, in_flight=in_flight, answered=one.answered)
        assert held_back_by(run).found


@pytest.mark.parametrize(("observations", "cause", "found", "advice"), CASES.values(), ids=CASES)
def test_what_was_seen_is_told_with_figures_and_what_to_change(observations, cause, found, advice):
    told = held_back_by(observations)

    assert (told.cause, found in told.found, advice in told.advice) == (cause, True, True), str(told)
    assert str(told) == f"what held throughput back: {told.found}\n  {told.advice}"
    assert told.as_json() == {"cause": cause, "found": told.found, "advice": told.advice}
