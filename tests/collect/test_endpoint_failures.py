"""Whatever endpoints do, a run ends, what could be had is there, and the rest is in the sidecar with a class."""

import asyncio
import collections
import time

import pytest

from tests.collect.workspace import arguments, identities

BOUND_S = 60


def classes(workspace) -> collections.Counter:
    return collections.Counter(row["_ng_failure_class"] for row in workspace.rows("results/rollouts_failures.jsonl"))


@pytest.mark.parametrize(
    "faults",
    [
        {"rate_limited": 0.3, "retry_after_s": 0.2},
        {"server_error": 0.3},
        {"unavailable": 0.3},
        {"reset": 0.2},
        {"half_body": 0.2},
        {"invalid_json": 0.2},
        {"error_body": 0.2},
        {"rate_limited": 0.05, "server_error": 0.05, "reset": 0.02, "half_body": 0.01, "invalid_json": 0.01},
    ],
    ids="+".join,
)
async def test_faults_that_pass_cost_no_rollout(workspace, engines, faults):
    [engine] = await engines(faults=faults)
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 200)

    words = arguments(input_jsonl_fpath="tasks.jsonl", concurrency=50)
    run = await workspace.collect(*words, timeout_s=BOUND_S)

    assert run.code == 0, run.err
    rows = workspace.rows("results/rollouts.jsonl")
    assert len(set(identities(rows))) == len(rows) == 200
    assert engine.stats.by_fault.total() > 0


async def test_calls_that_hang_are_given_up_and_tried_again(workspace, engines):
    [engine] = await engines(faults={"hang": 0.1})
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 100)

    run = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl"), "+deadlines.call_s=1", timeout_s=BOUND_S)

    assert run.code == 0, run.err
    assert len(workspace.rows("results/rollouts.jsonl")) == 100
    assert engine.stats.by_fault["hang"] > 0


async def test_one_of_two_endpoints_killed_for_good_loses_no_row(workspace, engines):
    first, second = await engines(2, latency={"ttft_s": 0.02})
    workspace.points_to(first.base_url, second.base_url)
    workspace.write_tasks("tasks.jsonl", 1000)
    running = asyncio.create_task(
        workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl", concurrency=50), timeout_s=BOUND_S)
    )
    while second.stats.completed < 100:
        await asyncio.sleep(0.01)
    await second.stop()
    run = await running

    assert run.code == 0, run.err
    rows = workspace.rows("results/rollouts.jsonl")
    assert len(set(identities(rows))) == len(rows) == 1000
    assert 1000 <= first.stats.completed + second.stats.completed <= 1050  # answers cut off on their way count too


async def test_one_of_two_endpoints_that_never_answers_loses_no_row(workspace, engines):
    [good] = await engines()
    [mute] = await engines(faults={"hang": 1.0})
    workspace.points_to(good.base_url, mute.base_url)
    workspace.write_tasks("tasks.jsonl", 200)

    run = await workspace.collect(
        *arguments(input_jsonl_fpath="tasks.jsonl", concurrency=20), "+deadlines.call_s=1", timeout_s=BOUND_S
    )

    assert run.code == 0, run.err
    assert len(workspace.rows("results/rollouts.jsonl")) == 200


@pytest.mark.parametrize(
    ("faults", "failure_class"),
    [
        ({"rate_limited": 1.0, "retry_after_s": 0.1}, "rate_limited"),
        ({"server_error": 1.0}, "server_error"),
        ({"reset": 1.0}, "reset"),
        ({"half_body": 1.0}, "reset"),
        ({"invalid_json": 1.0}, "bad_reply"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
async def test_faults_that_never_pass_end_in_the_sidecar_with_their_class(workspace, engines, faults, failure_class):
    [engine] = await engines(faults=faults)
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 20)
    began = time.monotonic()

    run = await workspace.collect(
        *arguments(input_jsonl_fpath="tasks.jsonl", concurrency=20),
        "++policy_model.responses_api_models.vllm_model.routing.attempts=3",
        "++policy_model.responses_api_models.vllm_model.routing.patience_s=1",
        "++policy_model.responses_api_models.vllm_model.routing.budget_s=3",
        timeout_s=BOUND_S,
    )

    assert run.code == 3, run.err
    assert workspace.rows("results/rollouts.jsonl") == []
    assert classes(workspace) == {failure_class: 20}
    assert "20 failed" in run.err
    assert time.monotonic() - began < BOUND_S
    assert 20 <= engine.stats.calls <= 20 * 3

    engine.faults.load(type(engine.faults.faults)())
    again = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl", accept_changes="true"))
    assert again.code == 0, again.err
    assert [row["_ng_attempt_index"] for row in workspace.rows("results/rollouts.jsonl")] == [1] * 20


async def test_an_endpoint_that_is_gone_for_good_ends_the_run_in_bounded_time(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.02})
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 500)
    running = asyncio.create_task(
        workspace.collect(
            *arguments(input_jsonl_fpath="tasks.jsonl", concurrency=20),
            "++policy_model.responses_api_models.vllm_model.routing.patience_s=1",
            timeout_s=BOUND_S,
        )
    )
    while engine.stats.completed < 100:
        await asyncio.sleep(0.01)
    await engine.stop()
    run = await running

    assert run.code == 3, run.err
    rows = workspace.rows("results/rollouts.jsonl")
    failures = workspace.rows("results/rollouts_failures.jsonl")
    assert engine.stats.completed - 20 <= len(rows) <= engine.stats.completed  # answers cut off on their way
    assert len(set(identities(rows + failures))) == len(rows) + len(failures) == 500
    assert set(classes(workspace)) <= {"unreachable", "reset"}


async def test_a_request_that_the_engine_calls_invalid_is_not_sent_again(workspace, engines):
    [engine] = await engines(models=("another-model",))
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 5)

    run = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl"), timeout_s=BOUND_S)

    assert run.code == 3
    assert classes(workspace) == {"bad_request": 5}
    assert engine.stats.calls == 5
    [failure] = workspace.rows("results/rollouts_failures.jsonl")[:1]
    assert "does not exist" in failure["_ng_failure_message"]
    assert "5 bad_request, for instance: " in run.err
    assert "does not exist" in run.err
    assert "\n    hint: check the model's name against the endpoint's /v1/models" in run.err
