"""The commands of the user's documents against two vLLM servers, with a model that says what it likes."""

import asyncio
import contextlib
import json
import signal
import socket

import aiohttp
import pytest

from tests.collect.workspace import VLLM, identities
from tests.vllm.engines import NAME
from tests.vllm.scripts import OPENAI, data, weather

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

READY_S = 120


@contextlib.asynccontextmanager
async def ng_run(workspace, model, ready_s=READY_S):
    """A running `ng_run`; yields the word that leads other commands to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        head = f"+head_server.port={probe.getsockname()[1]}"
    configs = f"+config_paths=[{model},resources_servers/simple_weather/configs/simple_weather.yaml]"
    child = await workspace.start("run", configs, head)
    try:
        async with asyncio.timeout(ready_s):
            out = await child.stdout.readuntil(b"Ctrl-C stops them")
        assert b"servers ready in" in out
        yield head
    finally:
        child.send_signal(signal.SIGINT)
        _, err = await child.communicate()
    assert child.returncode == 0
    assert b"all servers stopped" in err
    assert b"rollouts will fail" not in err  # it found both servers


@pytest.mark.parametrize(("model", "path"), [(VLLM, "/v1/chat/completions"), (OPENAI, "/v1/responses")])
async def test_every_task_becomes_a_row_with_sessions_sticky_and_spread_evenly(workspace, engines, model, path):
    async with ng_run(workspace, model) as head:
        run = await workspace.collect(
            "+agent_name=simple_weather_simple_agent",
            "+input_jsonl_fpath=resources_servers/simple_weather/data/example.jsonl",
            "+output_jsonl_fpath=results/rollouts.jsonl",
            "+concurrency=100",
            head,
            timeout_s=300,
        )

    assert run.code == 0, run.err
    rows = workspace.rows("results/rollouts.jsonl")
    assert len(set(identities(rows))) == len(rows) == len(data("simple_weather"))
    assert all(row["reward"] in {0.0, 1.0} and row["response"]["output"] for row in rows)
    first, second = (engine.sessions() for engine in engines)
    assert not first.keys() & second.keys()
    assert len(first) + len(second) == len(rows)
    assert max(len(first), len(second)) <= 0.6 * len(rows)
    assert max((first + second).values()) > 1  # the model did call tools
    assert {path} == engines[0].paths() == engines[1].paths()
    refused = sum(row["response"]["status"] == "incomplete" for row in rows)  # some outgrow the context
    completed = sum(engine.completed() for engine in engines)
    assert completed <= (first + second).total() <= completed + refused


async def test_the_served_agent_plays_through_the_served_model(workspace, engines):
    async with ng_run(workspace, VLLM) as head:
        listed = await workspace.run("status", head, "+json=true")
        [agent] = [each for each in json.loads(listed.out) if each["process_name"] == "simple_weather_simple_agent"]
        async with aiohttp.ClientSession() as http:
            for due in (1.0, 0.0):
                row = weather(data("simple_weather")[0], due)
                async with http.post(f"{agent['url']}/run", json=row) as reply:
                    assert (await reply.json())["reward"] == due

    assert [*engines[0].sessions().values(), *engines[1].sessions().values()] == [2, 2]


async def test_all_arms_of_a_task_are_played_at_one_server(workspace, engines):
    run = await workspace.collect(
        f"+config_paths=[{VLLM},resources_servers/gsm8k/configs/gsm8k.yaml]",
        "+agent_name=gsm8k_simple_agent",
        "+input_jsonl_fpath=resources_servers/gsm8k/data/example.jsonl",
        "+output_jsonl_fpath=results/arms.jsonl",
        "+limit=32",
        "+arms_fpath=configs/arms/gsm8k.yaml",
        "+question_batch_size=8",
        "+responses_create_params.max_output_tokens=64",
        timeout_s=300,
    )

    assert run.code == 0, run.err
    rows = workspace.rows("results/arms.jsonl")
    arms = ("plain", "careful", "restated", "bare")
    assert sorted((row["_ng_task_index"], row["arm"]) for row in rows) == sorted(
        (task, arm) for task in range(32) for arm in arms
    )
    first, second = ({session.partition("-")[0] for session in engine.sessions()} for engine in engines)
    assert first
    assert second
    assert not first & second
    assert len(first | second) == 32


async def test_policy_and_judge_have_servers_of_their_own(workspace, engines):
    policy, judge = engines
    workspace.write(
        "env.yaml",
        "".join(
            f"{who}_base_url: {engine.base_url}\n{who}_api_key: EMPTY\n{who}_model_name: {NAME}\n"
            for who, engine in (("policy", policy), ("judge", judge))
        ),
    )

    run = await workspace.collect(
        "+config_paths=[configs/vllm_with_judge.yaml]",
        "+agent_name=equivalence_llm_judge_simple_agent",
        "+input_jsonl_fpath=resources_servers/equivalence_llm_judge/data/example.jsonl",
        "+output_jsonl_fpath=results/judged.jsonl",
        "+limit=8",
        "+responses_create_params.max_output_tokens=32",
        timeout_s=300,
    )

    assert run.code == 0, run.err
    assert len(workspace.rows("results/judged.jsonl")) == policy.completed() == 8
    assert judge.completed() > 0
