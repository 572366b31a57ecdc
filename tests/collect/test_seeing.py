"""What a user sees of a run while it plays, with real commands and engines that count."""

import asyncio
import signal
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from responses_api_models.simulated_model.settings import Faults, Latency
from tests.collect.test_with_ng_run import VLLM, WEATHER, documented, free_port, running
from tests.collect.workspace import arguments


async def metrics(url):
    """Every sample of a page, by name and the values of its labels."""
    async with aiohttp.ClientSession() as http, http.get(url) as reply:
        families = text_string_to_metric_families(await reply.text())
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


@asynccontextmanager
async def collecting(workspace, *words):
    """A collection that is ended with a second Ctrl-C; gives the process and what reads its stderr up to a text."""
    child = await workspace.start("collect_rollouts", *words)
    seen = ""

    async def until(text):
        nonlocal seen
        while text not in seen:
            line = await child.stderr.readline()
            assert line, seen
            seen += line.decode()
        return seen

    try:
        async with asyncio.timeout(60):
            yield child, until
    finally:
        for _ in range(2):
            if child.returncode is None:
                child.send_signal(signal.SIGINT)
                await asyncio.sleep(0.1)
        await asyncio.wait_for(child.communicate(), 30)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_hanging_tail_is_named_and_a_signal_shows_the_endpoints(workspace, engines, workers):
    [quick] = await engines()
    [stuck] = await engines(faults=Faults(hang=1.0))
    workspace.points_to(quick.base_url, stuck.base_url)
    workspace.write_tasks("tasks.jsonl", 40)
    options = {"concurrency": 8, "watchdog_s": 2, "metrics_port": 0, "num_workers": workers}
    words = arguments(input_jsonl_fpath="tasks.jsonl", **options)
    workspace.environment = {"COLUMNS": "200"}
    async with collecting(workspace, *words) as (child, until):
        url = (await until("metrics on ")).split("metrics on ")[1].split()[0]
        said = await until("turn 1, model")
        child.send_signal(signal.SIGUSR1)
        table = await until("event loop lag")
        page = await metrics(url)

    assert "no rollout has ended for 2 s, " in said
    assert f", rollout 0: turn 1, model at {stuck.base_url}, for " in said.partition("no rollout has ended")[2]
    [line] = [line for line in table.splitlines() if line.startswith("│") and stuck.base_url in line]
    waiting = page["nemo_gym_endpoint_in_flight", "collector", stuck.base_url, "policy_model"]
    assert [cell.strip() for cell in line.split("│")][4:6] == [f"{waiting:.0f}"] * 2
    assert page["nemo_gym_rollouts_in_flight", "collector"] == waiting > 0
    assert page["nemo_gym_rollouts_total", "collector", "delivered"] == 40 - waiting
    assert page["nemo_gym_model_requests_total", "answered", "collector"] == 40 - waiting
    assert page["nemo_gym_rollouts_limit", "collector"] == 8


async def test_the_history_of_every_run_is_kept_and_agrees_with_the_counts(workspace, engines):
    [engine] = await engines(latency=Latency(ttft_s=0.5), slots=4)
    workspace.points_to(engine.base_url)
    for rows in (12, 20):
        workspace.write_tasks("tasks.jsonl", rows)
        run = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl", concurrency=4))
        assert run.code == 0, run.err

    manifest = workspace.json("results/rollouts_run.json")
    first, second = manifest["history"]
    assert (first["delivered"][-1], second["delivered"][-1]) == (12, 8)
    assert max(first["in_flight"]) == max(first["endpoints"][engine.base_url]) == 4
    assert set(first["limit"]) == {4}
    assert first["tokens"][-1] + second["tokens"][-1] == manifest["tokens"]["output_tokens"] > 0
    assert first["begun"] <= second["begun"]
    assert " tok/s" in run.err


async def test_served_models_tell_their_endpoints_to_ng_status_and_all_servers_to_prometheus(workspace, engines):
    first, second = await engines(2)
    workspace.points_to(first.base_url, second.base_url)
    port = free_port()
    async with running(workspace, VLLM, WEATHER, more=[f"+metrics_port={port}"]) as head:
        workspace.environment = {"XDG_STATE_HOME": str(workspace.path / "somebody_else")}
        run = await workspace.collect(*documented(), head)
        page = await metrics(f"http://127.0.0.1:{port}/metrics")
        status = await workspace.run("status", head)

    assert run.code == 0, run.err
    calls = first.stats.completed + second.stats.completed
    assert page["nemo_gym_server_requests_total", "/v1/responses", "200", "policy_model"] == calls
    assert page["nemo_gym_server_request_seconds_count", "/v1/responses", "policy_model"] == calls
    assert page["nemo_gym_endpoint_answered_total", first.base_url, "policy_model", "policy_model"] > 0
    assert page["nemo_gym_endpoint_state", first.base_url, "policy_model", "policy_model", "up"] == 1
    for server in ("policy_model", "simple_weather", "simple_weather_simple_agent"):
        assert page["nemo_gym_server_up", server] == 1
        assert page["nemo_gym_event_loop_lag_seconds", server] >= 0
    rows = [[cell.strip() for cell in line.split("│")] for line in status.out.splitlines()]
    told = {row[2]: row for row in rows if len(row) > 9}
    assert [told[engine.base_url][3] for engine in (first, second)] == ["up", "up"]
    assert sum(int(row[6]) for row in told.values()) == calls


async def test_a_port_that_is_taken_ends_the_run_before_a_rollout(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    port = int(engine.base_url.split(":")[2].split("/")[0])
    run = await workspace.collect(*arguments(metrics_port=port))

    assert run.code == 2
    assert f"metrics_port: cannot listen on 127.0.0.1:{port}" in run.err
    assert engine.stats.completed == 0
