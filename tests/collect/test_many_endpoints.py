"""What several endpoints are promised to give, counted at the engines; the soak has the same at length."""

import asyncio
import time

import pytest

from tests.collect.workspace import arguments, identities

ROUTING = "++policy_model.responses_api_models.vllm_model.routing"
ENDPOINTS_FILE = "++policy_model.responses_api_models.vllm_model.endpoints_file"


def words(**more):
    return arguments(input_jsonl_fpath="tasks.jsonl", **more)


async def collected(workspace, *more, rows, timeout_s=60):
    """A run that must deliver every row exactly once."""
    run = await workspace.collect(*more, timeout_s=timeout_s)
    assert run.code == 0, run.err
    delivered = identities(workspace.rows("results/rollouts.jsonl"))
    assert len(set(delivered)) == len(delivered) == rows
    return run


async def test_sessions_spread_evenly_over_four_endpoints_and_every_turn_stays(workspace, engines):
    fleet = await engines(4, latency={"ttft_s": 0.05, "jitter": 0.7})
    workspace.points_to(*(engine.base_url for engine in fleet))

    await collected(workspace, *arguments("simple_weather", concurrency=64, num_repeats=20), rows=600)

    sizes = [len(engine.stats.sessions) for engine in fleet]
    assert sum(sizes) == 600  # no session was at two of them
    assert max(sizes) / (600 / 4) <= 1.05
    assert sum(engine.stats.calls for engine in fleet) > 600  # and they had turns


async def test_all_repeats_of_a_task_are_played_at_one_endpoint_where_that_is_asked_for(workspace, engines):
    fleet = await engines(2, latency={"ttft_s": 0.02})
    workspace.points_to(*(engine.base_url for engine in fleet))
    workspace.write_tasks("tasks.jsonl", 40)

    await collected(workspace, *words(num_repeats=4, concurrency=16), f"{ROUTING}.session_affinity=task", rows=160)

    tasks = [{session.partition("-")[0] for session in engine.stats.sessions} for engine in fleet]
    assert not tasks[0] & tasks[1]
    assert min(len(each) for each in tasks) >= 15


async def test_an_endpoint_that_dies_loses_no_row_and_gets_its_share_when_it_is_back(workspace, engines):
    fleet = await engines(3, latency={"ttft_s": 0.05})
    workspace.points_to(*(engine.base_url for engine in fleet))
    workspace.write_tasks("tasks.jsonl", 3500)
    running = asyncio.create_task(collected(workspace, *words(concurrency=30), rows=3500))
    while fleet[0].stats.completed < 200:
        await asyncio.sleep(0.01)
    await fleet[2].stop()
    await asyncio.sleep(2.0)
    await fleet[2].start()
    await asyncio.sleep(2.5)  # the longest rest of an endpoint that refuses connections is 2 s
    before = [engine.stats.calls for engine in fleet]
    await asyncio.sleep(1.0)
    calls = [engine.stats.calls - earlier for engine, earlier in zip(fleet, before, strict=True)]
    await running

    assert calls[2] >= 0.8 * sum(calls) / 3


async def test_a_slow_endpoint_gets_only_what_it_can_do(workspace, engines):
    fast = await engines(3, latency={"ttft_s": 0.02}, slots=8)
    [slow] = await engines(1, latency={"ttft_s": 0.2}, slots=8)
    workspace.points_to(*(engine.base_url for engine in (*fast, slow)))
    workspace.write_tasks("tasks.jsonl", 2000)

    await collected(workspace, *words(concurrency=32), rows=2000)

    assert slow.stats.completed <= 200  # a quarter of the rows would be 500, and take 12 s
    assert all(engine.stats.completed >= 400 for engine in fast)


async def test_an_ordinary_rate_limit_with_many_in_flight_loses_no_row(workspace, engines):
    [engine] = await engines(limits={"requests_per_second": 100})
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 500)

    await collected(workspace, *words(concurrency=500), rows=500)

    assert engine.stats.by_status[429] > 100  # it was one
    assert engine.stats.calls <= 500 * 3
    assert max(engine.stats.sessions.values()) < 10


async def test_retry_after_keeps_every_rollout_from_the_endpoint(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.05})
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 600)
    running = asyncio.create_task(collected(workspace, *words(concurrency=40), rows=600))
    while engine.stats.completed < 150:
        await asyncio.sleep(0.01)
    engine.faults.load(type(engine.faults.faults)(rate_limited=1.0, at_most=1, retry_after_s=3.0))
    while not engine.stats.by_fault["rate_limited"]:
        await asyncio.sleep(0.001)
    began = time.monotonic()
    await asyncio.sleep(0.1)  # what was on its way
    calls = engine.stats.calls
    while engine.stats.calls == calls:
        await asyncio.sleep(0.005)
    silent_s = time.monotonic() - began
    await running

    assert silent_s >= 2.98


@pytest.mark.parametrize(("attempts", "budget_s"), [(1000, 3.0), (2, 60.0)])
async def test_429_for_ever_ends_each_row_within_its_seconds_and_its_attempts(workspace, engines, attempts, budget_s):
    [engine] = await engines(faults={"rate_limited": 1.0, "retry_after_s": None})
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 20 if attempts > 2 else 4)
    rows = 20 if attempts > 2 else 4
    began = None
    running = asyncio.create_task(
        workspace.collect(
            *words(concurrency=rows),
            f"{ROUTING}.attempts={attempts}",
            f"{ROUTING}.budget_s={budget_s}",
            timeout_s=60,
        )
    )
    while not engine.stats.calls:
        await asyncio.sleep(0.005)
    began = time.monotonic()
    while not running.done() and len(workspace.rows("results/rollouts_failures.jsonl")) < rows:
        await asyncio.sleep(0.02)
    took_s = time.monotonic() - began
    run = await running
    assert "does not answer" not in run.err, "port 9 is not used, as the file takes its place"

    assert run.code == 3, run.err
    failures = workspace.rows("results/rollouts_failures.jsonl")
    assert [row["_ng_failure_class"] for row in failures] == ["rate_limited"] * rows
    assert engine.stats.calls <= rows * attempts
    assert took_s <= budget_s * 1.1 + 0.5  # the machine that runs the tests is busy


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "no such file: endpoints.txt"),
        ("", "base_url is empty"),
        ("a: [b", "base_url 'a: [b' is no HTTP URL"),
    ],
)
async def test_a_run_does_not_begin_with_a_file_that_gives_no_endpoint(workspace, engines, text, complaint):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    if text is not None:
        workspace.write("endpoints.txt", text)

    run = await workspace.collect(*arguments(), f"{ENDPOINTS_FILE}=endpoints.txt")

    assert run.code == 2
    assert "error: policy_model.responses_api_models.vllm_model.endpoints_file: " in run.err
    assert complaint in run.err
    assert engine.stats.calls == 0
    assert not (workspace.path / "results").exists()


async def test_endpoints_join_and_leave_by_a_file_while_a_run_is_going(workspace, engines):
    first, second = await engines(2, latency={"ttft_s": 0.05})
    workspace.points_to("http://127.0.0.1:9/v1")
    workspace.write_tasks("tasks.jsonl", 1500)
    endpoints = workspace.write("endpoints.txt", f"{first.base_url}\n")
    running = asyncio.create_task(
        collected(workspace, *words(concurrency=20), f"{ENDPOINTS_FILE}=endpoints.txt", rows=1500)
    )
    while first.stats.completed < 100:
        await asyncio.sleep(0.01)
    assert second.stats.calls == 0
    endpoints.write_text(f"- {first.base_url}\n- {second.base_url}\n")
    while second.stats.completed < 100:
        await asyncio.sleep(0.01)
    endpoints.write_text(f"{second.base_url}\n")
    await asyncio.sleep(1.5)
    calls = first.stats.calls
    run = await running

    assert first.stats.calls == calls
    assert "does not answer" not in run.err, "the file takes the place of the URL that nobody serves"
    assert f"{second.base_url} joined" in run.err
    assert f"{first.base_url} left" in run.err
