"""What a user gets from one command: files, rows, routing, and how it ends."""

import asyncio
import collections
import os
import signal

import orjson
import pytest

from nemo_gym_lite.config.roots import find
from tests.collect.workspace import arguments, identities


async def test_every_task_becomes_one_scored_row_and_every_file_is_there(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 50)

    run = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl", num_repeats=2, concurrency=20))

    assert run.code == 0, run.err
    rows = workspace.rows("results/rollouts.jsonl")
    assert len(set(identities(rows))) == len(rows) == 100
    assert engine.stats.completed == 100
    for row in rows:
        assert row["reward"] in {0.0, 1.0}
        assert row["expected_answer"]
        assert row["response"]["object"] == "response"
        assert row["usage"] == row["response"]["usage"]
        assert row["agent_ref"]["name"] == "gsm8k_simple_agent"
    assert {path.name for path in (workspace.path / "results").iterdir()} == {
        "rollouts.jsonl",
        "rollouts_run.json",
        "rollouts_aggregate_metrics.json",
    }
    manifest = workspace.json("results/rollouts_run.json")
    assert manifest["status"] == "finished"
    assert manifest["counts"]["delivered"] == 100
    assert manifest["tokens"]["total_tokens"] == sum(row["usage"]["total_tokens"] for row in rows)
    [metrics] = workspace.json("results/rollouts_aggregate_metrics.json")
    assert metrics["agent_metrics"]["mean/reward"] == pytest.approx(sum(row["reward"] for row in rows) / 100)
    assert len(metrics["group_level_metrics"]) == 50
    assert "Collecting rollouts: 100% 100/100" in run.err
    assert not (workspace.path / "outputs").exists()


async def test_all_turns_of_a_session_stay_on_one_of_two_endpoints_and_sessions_spread(workspace, engines):
    first, second = await engines(2, latency={"ttft_s": 0.05, "jitter": 0.5})
    workspace.points_to(first.base_url, second.base_url)

    run = await workspace.collect(*arguments("simple_weather", num_repeats=10, concurrency=50))

    assert run.code == 0, run.err
    rows = workspace.rows("results/rollouts.jsonl")
    assert not first.stats.sessions.keys() & second.stats.sessions.keys()
    assert len(first.stats.sessions) + len(second.stats.sessions) == len(rows)
    assert min([*first.stats.sessions.values(), *second.stats.sessions.values()]) >= 2  # a tool call, then the answer
    assert max(len(e.stats.sessions) for e in (first, second)) <= 0.55 * len(rows)


async def test_the_same_command_again_plays_nothing_and_keeps_every_byte(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    await workspace.collect(*arguments(limit=10))
    before = (workspace.path / "results/rollouts.jsonl").read_bytes()

    run = await workspace.collect(*arguments(limit=10))

    assert run.code == 0
    assert (workspace.path / "results/rollouts.jsonl").read_bytes() == before
    assert engine.stats.calls == 10
    [metrics] = workspace.json("results/rollouts_aggregate_metrics.json")
    assert metrics["agent_metrics"]["mean/reward"] is not None


async def test_more_repeats_and_a_higher_limit_add_to_what_is_there(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    await workspace.collect(*arguments(limit=5))
    run = await workspace.collect(*arguments(limit=8, num_repeats=3))

    assert run.code == 0
    rows = workspace.rows("results/rollouts.jsonl")
    assert len(set(identities(rows))) == len(rows) == 24
    assert engine.stats.completed == 24


async def test_another_temperature_on_the_same_output_is_refused_with_the_difference(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    await workspace.collect(*arguments(limit=3))
    warmer = [*arguments(limit=3), "+responses_create_params.temperature=0.3"]

    refused = await workspace.collect(*warmer)
    assert refused.code == 2
    assert "responses_create_params.temperature: not set -> 0.3" in refused.err
    assert "hint:" in refused.err
    assert len(workspace.rows("results/rollouts.jsonl")) == 3

    accepted = await workspace.collect(*warmer, "+accept_changes=true")
    assert accepted.code == 0
    assert len(workspace.rows("results/rollouts.jsonl")) == 6


async def test_overwrite_starts_anew_and_without_it_nothing_is_deleted(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    await workspace.collect(*arguments(limit=3))

    refused = await workspace.collect(*arguments(limit=3, resume_from_cache="false"))
    assert refused.code == 2
    assert len(workspace.rows("results/rollouts.jsonl")) == 3

    run = await workspace.collect(*arguments(limit=2, overwrite="true"))
    assert run.code == 0
    assert len(workspace.rows("results/rollouts.jsonl")) == 2


async def test_the_hand_made_resume_of_the_documents_loses_and_repeats_nothing(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.03, "jitter": 1.0})
    workspace.points_to(engine.base_url)
    tasks = workspace.write_tasks("large_dataset.jsonl", 400)
    child = await workspace.start(
        "collect_rollouts", *arguments(input_jsonl_fpath="large_dataset.jsonl", limit=400, concurrency=40)
    )
    output = workspace.path / "results/rollouts.jsonl"
    while not output.exists() or output.read_bytes().count(b"\n") < 100:
        await asyncio.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    await child.communicate()

    done = output.read_bytes().count(b"\n")  # wc -l
    rest = tasks.read_text().splitlines(keepends=True)[done:]  # tail -n +$((done + 1))
    workspace.write("remaining.jsonl", "".join(rest))
    run = await workspace.collect(*arguments(input_jsonl_fpath="remaining.jsonl", limit=400 - done))

    assert run.code == 0, run.err
    rows = workspace.rows("results/rollouts.jsonl")
    assert len(set(identities(rows))) == len(rows) == 400
    assert "in flight when it was cut off" in run.err


async def test_ctrl_c_lets_rollouts_finish_and_the_same_command_goes_on(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.2})
    workspace.points_to(engine.base_url)
    words = arguments(concurrency=10)
    child = await workspace.start("collect_rollouts", *words)
    while engine.stats.completed < 15:
        await asyncio.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, err = await child.communicate()

    assert child.returncode == 130, err
    assert b"the same command goes on" in err
    begun = len(workspace.rows("results/rollouts.jsonl"))
    assert begun == engine.stats.completed == engine.stats.calls
    assert workspace.json("results/rollouts_run.json")["status"] == "interrupted"

    run = await workspace.collect(*words)
    rows = workspace.rows("results/rollouts.jsonl")
    assert run.code == 0
    assert len(set(identities(rows))) == len(rows) == engine.stats.completed


async def test_an_over_long_prompt_is_a_row_with_an_incomplete_response(workspace, engines):
    [engine] = await engines(max_model_len=200)
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 2, text="{n} " + "word " * 1000)

    run = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl"))

    assert run.code == 0, run.err
    for row in workspace.rows("results/rollouts.jsonl"):
        assert row["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
        assert row["reward"] == 0.0


async def test_no_secret_reaches_the_files_or_the_output(workspace, engines):
    [engine] = await engines()
    workspace.write(
        "env.yaml",
        f"policy_base_url: {engine.base_url}\npolicy_api_key: sk-very-secret\npolicy_model_name: m\n",
    )
    run = await workspace.collect(*arguments(limit=3))

    assert run.code == 0
    assert "sk-very-secret" not in run.err + run.out
    for path in (workspace.path / "results").iterdir():
        assert b"sk-very-secret" not in path.read_bytes()


async def test_sessions_with_state_are_kept_apart_over_http(workspace, engines):
    [engine] = await engines(accuracy=1.0)
    workspace.points_to(engine.base_url)

    run = await workspace.collect(*arguments("session_counter", num_repeats=5, concurrency=50))

    assert run.code == 0, run.err
    rows = workspace.rows("results/rollouts.jsonl")
    assert len(rows) == len(set(identities(rows))) > 100


async def test_a_row_may_come_from_any_agent_and_metrics_are_kept_apart(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    lines = [
        orjson.dumps({**orjson.loads(line), "agent_ref": {"name": f"{name}_simple_agent"}}).decode()
        for name in ("gsm8k", "mcqa")
        for line in find(f"resources_servers/{name}/data/example.jsonl").read_bytes().splitlines()[:4]
    ]
    workspace.write("both.jsonl", "\n".join(lines))
    config = (
        "+config_paths=[responses_api_models/vllm_model/configs/vllm_model.yaml,"
        "resources_servers/gsm8k/configs/gsm8k.yaml,resources_servers/mcqa/configs/mcqa.yaml]"
    )

    run = await workspace.collect(config, "+input_jsonl_fpath=both.jsonl", "+output_jsonl_fpath=out.jsonl")

    assert run.code == 0, run.err
    counted = collections.Counter(row["agent_ref"]["name"] for row in workspace.rows("out.jsonl"))
    assert counted == {"gsm8k_simple_agent": 4, "mcqa_simple_agent": 4}
    assert [entry["agent_ref"]["name"] for entry in workspace.json("out_aggregate_metrics.json")] == [
        "gsm8k_simple_agent",
        "mcqa_simple_agent",
    ]
