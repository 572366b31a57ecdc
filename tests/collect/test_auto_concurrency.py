"""`+concurrency=auto` as a user meets it: real commands, and engines that count what they had at once."""

import asyncio
from itertools import pairwise

import pytest

from responses_api_models.simulated_model.settings import Latency
from tests.collect.workspace import arguments

OUTPUT = "results/rollouts.jsonl"


async def collect(workspace, engine, rows, **more):
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", rows)
    finished = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl", disable_aggregation="true", **more))
    assert finished.code == 0, finished.err
    assert len(workspace.rows(OUTPUT)) == engine.stats.completed == rows
    return finished


def loads(engine):
    """(seconds, requests in flight) over time, as the engine noted it."""
    return [(row[0], row[6]) for row in engine.stats.history.rows]


def longest_above(engine, limit, from_s=0.0):
    """The longest time in seconds that the engine had more than `limit` requests."""
    longest, since_s = 0.0, None
    for (at_s, load), (next_s, _) in pairwise(loads(engine)):
        if at_s < from_s or load <= limit:
            since_s = None
        else:
            since_s = at_s if since_s is None else since_s
            longest = max(longest, next_s - since_s)
    return longest


@pytest.mark.parametrize(("slots", "rows"), [(4, 60), (48, 700)])
async def test_auto_fills_an_engine_of_any_size_and_does_not_flood_it(workspace, engines, slots, rows):
    [engine] = await engines(slots=slots, latency=Latency(ttft_s=0.2))
    await collect(workspace, engine, rows)

    assert engine.stats.max_in_flight >= slots
    assert longest_above(engine, 1.5 * slots) < 5.0


async def test_a_number_means_that_number_whatever_the_engine_says(workspace, engines):
    [engine] = await engines(slots=4, latency=Latency(ttft_s=0.1))
    await collect(workspace, engine, 100, concurrency=25)

    assert engine.stats.max_in_flight == workspace.json("results/rollouts_run.json")["counts"]["max_in_flight"] == 25


async def test_auto_follows_when_half_the_slots_go(workspace, engines):
    [engine] = await engines(slots=32, latency=Latency(ttft_s=0.2))
    running = asyncio.ensure_future(collect(workspace, engine, 900))
    while engine.stats.completed < 250:
        await asyncio.sleep(0.05)
    engine.scheduler.resize(16)
    from_s = loads(engine)[-1][0]
    await running

    assert longest_above(engine, 1.5 * 16, from_s) < 5.0
    assert min(load for at_s, load in loads(engine) if at_s > from_s + 5.0) <= 1.5 * 16


async def test_auto_needs_no_metrics(workspace, engines):
    [engine] = await engines(slots=32, latency=Latency(ttft_s=0.1), serves_metrics=False)
    await collect(workspace, engine, 800)

    assert 16 <= engine.stats.max_in_flight <= 4 * 32


async def test_auto_steers_several_endpoints_together(workspace, engines):
    started = await engines(2, slots=8, latency=Latency(ttft_s=0.2))
    workspace.points_to(*(engine.base_url for engine in started))
    workspace.write_tasks("tasks.jsonl", 300)
    finished = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl", disable_aggregation="true"))

    assert finished.code == 0, finished.err
    assert sum(engine.stats.completed for engine in started) == 300
    assert all(longest_above(engine, 1.5 * 8) < 5.0 for engine in started)
