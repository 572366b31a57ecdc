"""What held a run back, told after runs against engines that really are full, slow, or short of a cache.

Which cause is told of what was seen is in test_verdict.py; here are runs in which no other one can come before it, even
if the machine is slow.
"""

import re

from nemo_gym_lite.bottleneck.witness import Patience
from nemo_gym_lite.rollouts import collection
from responses_api_models.simulated_model.settings import Latency, Limits
from tests.bottleneck.conftest import SCRIPT, TOOL

QUICK, USUAL = Latency(ttft_s=0.02), Latency(ttft_s=0.1)
SLOW = "++slow.resources_servers.slow"
CALLS = f"+responses_create_params.tools=[{TOOL}]"


async def told(collect, *args, **options):
    outcome = await collect(*args, **options)
    assert outcome.held_back is not None
    return outcome.held_back


async def test_a_limit_that_leaves_engines_idle_is_printed_and_recorded(collect, engines, workspace, capsys):
    held_back = await told(collect, await engines(slots=64, latency=USUAL), 40, concurrency=6)

    assert held_back.cause == "concurrency"
    assert re.match(r"\d of 6 rollouts were in flight, and the engines had no queue to speak of", held_back.found)
    assert workspace.json("out_run.json")["history"][-1]["held_back"] == held_back.as_json()
    assert f"{held_back}\n" in capsys.readouterr().err


async def test_engines_with_a_queue_are_told_to_be_full(collect, engines):
    held_back = await told(collect, await engines(slots=8, latency=USUAL), 80, concurrency=40)

    assert held_back.cause == "engines"
    assert re.match(r"the engines were full: \d running, \d+ waiting", held_back.found)


async def test_a_cache_that_is_too_small_is_told(collect, engines):
    [engine] = await engines(kv_cache_tokens=300, latency=Latency(token_s=0.005))
    held_back = await told(collect, [engine], 50, concurrency=30)

    assert held_back.cause == "cache"
    events = re.search(r" in use, (\d+) preemptions for \d+ answers, ", held_back.found)
    assert 0 < int(events[1]) <= engine.scheduler.preemptions
    assert held_back.advice.startswith("lower +concurrency= or max_model_len")


async def test_the_slow_one_of_two_endpoints_is_named(collect, engines):
    [quick] = await engines(latency=QUICK)
    [slow] = await engines(latency=Latency(ttft_s=1.0))
    held_back = await told(collect, [quick, slow], 90, concurrency=12)

    assert held_back.cause == "slow_endpoint"
    assert held_back.found.startswith(f"{slow.base_url} ")


async def test_a_service_that_refuses_is_told_with_what_got_through(collect, engines):
    limits = Limits(requests_per_second=20, retry_after=False)
    held_back = await told(collect, await engines(limits=limits, serves_metrics=False), 40, concurrency=30)

    assert held_back.cause == "rate_limited"
    assert " requests were refused (429 or 503); " in held_back.found


async def test_limits_of_our_own_are_told(collect, engines):
    limit = "++policy_model.responses_api_models.vllm_model.requests_per_minute=600"
    held_back = await told(collect, await engines(), 12, limit, concurrency=8)

    assert held_back.cause == "own_limits"


async def test_checks_that_take_long_are_told(collect, engines):
    held_back = await told(collect, await engines(latency=QUICK), 30, f"{SLOW}.check_s=0.3", concurrency=10)

    assert held_back.cause == "verify"
    assert " in flight waited for one" in held_back.found


async def test_the_tool_that_takes_long_is_named(collect, engines):
    held_back = await told(
        collect, await engines(latency=QUICK), 30, f"{SLOW}.tool_s=0.3", CALLS, concurrency=10, text=SCRIPT
    )

    assert held_back.cause == "environment"
    assert "in flight waited for tool look_up" in held_back.found


async def test_an_environment_that_computes_in_the_collector_is_told(collect, engines):
    held_back = await told(collect, await engines(), 40, f"{SLOW}.compute_s=0.02", concurrency=10, computes=True)

    assert held_back.cause == "collector"
    assert held_back.found.startswith("the collector's event loop was busy for ")


async def test_too_few_rollouts_are_told(collect, engines):
    held_back = await told(collect, await engines(latency=Latency(ttft_s=0.6)), 5, concurrency=20)

    assert held_back.cause == "last_rollouts"
    assert re.match(r"for \d+% of the time no rollout was left to begin, and \d were in flight", held_back.found)


async def test_workers_tell_what_their_rollouts_wait_for(collect, engines):
    held_back = await told(
        collect, await engines(latency=QUICK), 64, f"{SLOW}.check_s=0.3", concurrency=16, num_workers=2
    )

    assert held_back.cause == "verify"
    assert held_back.found.endswith(" in flight waited for one")


async def test_a_run_that_was_too_short_is_not_judged(collect, engines, workspace, monkeypatch):
    monkeypatch.setattr(collection, "PATIENCE", Patience())
    outcome = await collect(await engines(), 4, concurrency=2)

    assert outcome.held_back is None
    assert "held_back" not in workspace.json("out_run.json")["history"][-1]
