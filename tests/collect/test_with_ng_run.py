"""Collection beside a running `ng_run`: near with the run's token, through served models without, the same rows."""

import asyncio
import contextlib
import os
import signal
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.collect.workspace import arguments, children_of, identities

WEATHER = "resources_servers/simple_weather/configs/simple_weather.yaml"
VLLM = "responses_api_models/vllm_model/configs/vllm_model.yaml"
OPENAI = "responses_api_models/openai_model/configs/openai_model.yaml"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@asynccontextmanager
async def running(workspace, *paths, more=()):
    """`ng_run` as documented, ready; gives the words that point other commands to it."""
    head = f"+head_server.port={free_port()}"
    child = await workspace.start("run", f"+config_paths=[{','.join(paths)}]", head, *more)
    said = b""
    try:
        while b"servers ready" not in said:
            line = await asyncio.wait_for(child.stdout.readline(), 60)
            assert line, (await child.stderr.read()).decode()
            said += line
        yield head
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGINT)
        await asyncio.wait_for(child.communicate(), 30)


def documented(output="results/rollouts.jsonl", *more):
    return [
        "+agent_name=simple_weather_simple_agent",
        "+input_jsonl_fpath=resources_servers/simple_weather/data/example.jsonl",
        f"+output_jsonl_fpath={output}",
        *more,
    ]


def comparable(rows):
    """Rows without what is drawn anew each time: ids of responses, items and calls, and the time of day."""

    def strip(value):
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k not in {"id", "call_id", "created_at"}}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return sorted((strip(row) for row in rows), key=lambda row: (row["_ng_key"], row["_ng_rollout_index"]))


async def test_a_served_model_finds_its_file_of_endpoints_where_the_user_works(workspace, engines):
    [engine] = await engines()
    workspace.points_to("http://127.0.0.1:9/v1")
    workspace.write("endpoints.txt", engine.base_url)
    listed = "++policy_model.responses_api_models.vllm_model.endpoints_file=endpoints.txt"
    async with running(workspace, VLLM, WEATHER, more=[listed]) as head:
        workspace.environment["XDG_STATE_HOME"] = str(workspace.path / "elsewhere")  # no token: models are served
        run = await workspace.collect(*documented("results/rollouts.jsonl", "+limit=5"), head)

    assert "models are used through their servers" in run.err
    assert run.code == 0, run.err
    assert len(workspace.rows("results/rollouts.jsonl")) == 5


@pytest.mark.parametrize("model", [VLLM, OPENAI], ids=["vllm_model", "openai_model"])
async def test_the_documented_commands_give_a_row_per_task_on_either_kind_of_model(workspace, engines, model):
    first, second = await engines(2) if model == VLLM else (await engines(1)) * 2
    workspace.points_to(*{first.base_url: None, second.base_url: None})
    async with running(workspace, model, WEATHER) as head:
        run = await workspace.collect(*documented("results/rollouts.jsonl", "+concurrency=100"), head)

    assert run.code == 0, run.err
    rows = workspace.rows("results/rollouts.jsonl")
    assert len(set(identities(rows))) == len(rows) == 30
    assert all(isinstance(row["reward"], float) for row in rows)
    if model == VLLM:
        assert not first.stats.sessions.keys() & second.stats.sessions.keys()
        assert 12 <= len(first.stats.sessions) <= 18


async def test_near_and_far_and_served_models_give_the_same_rows(workspace, engines):
    rows = {}
    for output, placed in {
        "near.jsonl": [],
        "far_resources.jsonl": ["++simple_weather.resources_servers.simple_weather.placement=far"],
        "far_model.jsonl": ["++policy_model.responses_api_models.vllm_model.placement=far"],
        "far_agent.jsonl": ["++simple_weather_simple_agent.responses_api_agents.simple_agent.placement=far"],
    }.items():
        [engine] = await engines()
        workspace.points_to(engine.base_url)
        words = [f"+config_paths=[{VLLM},{WEATHER}]", *documented(output), *placed]
        run = await workspace.collect(*words)
        assert run.code == 0, run.err
        rows[output] = comparable(workspace.rows(output))

    near = rows.pop("near.jsonl")
    assert len(near) == 30
    assert {row["reward"] for row in near} == {0.0, 1.0}
    for output, others in rows.items():
        assert others == near, output


async def test_who_has_no_token_uses_the_served_model_and_gets_the_same_rows(workspace, engines):
    rows = []
    for state in ("state", "somebody_else"):
        [engine] = await engines()
        workspace.points_to(engine.base_url)
        workspace.environment = {}
        async with running(workspace, VLLM, WEATHER) as head:
            workspace.environment = {"XDG_STATE_HOME": str(workspace.path / state)}
            run = await workspace.collect(*documented(f"{state}.jsonl"), head)
        assert run.code == 0, run.err
        assert ("no token" in run.err) == (state == "somebody_else")
        rows.append(comparable(workspace.rows(f"{state}.jsonl")))

    assert rows[0] == rows[1]
    assert len(rows[0]) == 30


async def test_the_documented_prewarm_request_is_answered_by_the_agent(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    port = free_port()
    at_port = f"++simple_weather_simple_agent.responses_api_agents.simple_agent.port={port}"
    async with running(workspace, VLLM, WEATHER, more=[at_port]), aiohttp.ClientSession() as http:
        body = {"responses_create_params": {"input": [{"role": "user", "content": "test"}]}}
        async with http.post(f"http://127.0.0.1:{port}/run", json=body) as reply:
            assert reply.status == 200
            row = await reply.json()

    assert row["response"]["output"]
    assert row["reward"] == 0.0


async def test_a_server_that_is_killed_during_the_run_costs_at_most_the_rollouts_it_held(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.02})
    workspace.points_to(engine.base_url)
    far = "++simple_weather.resources_servers.simple_weather.placement=far"
    words = [f"+config_paths=[{VLLM},{WEATHER}]", far, "+num_repeats=30", "+concurrency=20"]
    child = await workspace.start("collect_rollouts", *documented(), *words)
    output = workspace.path / "results/rollouts.jsonl"
    while not output.exists() or output.read_bytes().count(b"\n") < 100:
        assert child.returncode is None
        await asyncio.sleep(0.02)
    [server] = children_of(child.pid)
    os.kill(server, signal.SIGKILL)
    _, err = await asyncio.wait_for(child.communicate(), 60)

    rows = workspace.rows("results/rollouts.jsonl")
    failures = workspace.rows("results/rollouts_failures.jsonl")
    assert child.returncode in {0, 3}, err
    assert len(set(identities(rows + failures))) == len(rows) + len(failures) == 900
    assert len(failures) <= 20
    assert b"restart 1 of" in err


async def test_a_run_with_nothing_running_says_how_to_start_it(workspace):
    run = await workspace.collect(*documented(), f"+head_server.port={free_port()}")

    assert run.code == 2
    assert "no `ng_run` answers" in run.err
    assert "hint: start `ng_run" in run.err
    assert not (workspace.path / "results").exists()


async def test_an_agent_that_is_not_running_is_named_with_those_that_are(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    async with running(workspace, VLLM, WEATHER) as head:
        run = await workspace.collect(*documented(), "++agent_name=weather", head)

    assert run.code == 2
    assert "no agent 'weather' is configured" in run.err
    assert "simple_weather_simple_agent" in run.err


async def test_arguments_work_beside_a_running_server_of_the_same_configuration(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    async with running(workspace, VLLM, "resources_servers/gsm8k/configs/gsm8k.yaml") as head:
        run = await workspace.collect(*arguments(limit=3), head)

    assert run.code == 0, run.err
    assert engine.stats.completed == 3


async def test_text_that_looks_like_an_interpolation_reaches_a_server_as_it_was_written(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write(
        "template.yaml",
        "policy_model: {responses_api_models: {vllm_model: {extra_body: {note: 'cost: \\${price}'}}}}\n",
    )
    async with running(workspace, VLLM, WEATHER, "template.yaml") as head:
        run = await workspace.collect(*documented("out.jsonl", "+limit=2"), head)

    assert run.code == 0, run.err
