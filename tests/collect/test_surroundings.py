"""A run depends on nobody reading what it says, and on no environment of the user's to return."""

import asyncio
import os
import sys

import pytest

from tests.collect.workspace import arguments

STUCK = """
import time
from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig, BaseVerifyRequest, BaseVerifyResponse, SimpleResourcesServer,
)

class Stuck(SimpleResourcesServer):
    config: BaseResourcesServerConfig

    def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        WHAT
"""
STUCK_CONFIG = """
stuck: {resources_servers: {stuck: {entrypoint: app.py, domain: math, placement: near}}}
stuck_agent: {responses_api_agents: {simple_agent: {entrypoint: app.py,
  resources_server: {type: resources_servers, name: stuck},
  model_server: {type: responses_api_models, name: policy_model}}}}
"""


@pytest.mark.parametrize("streams", ["2>&-", "<&- >&- 2>&-", "2>/dev/full", "2>&1 | true"])
async def test_a_run_whose_streams_are_closed_full_or_unread_is_played_to_its_end(workspace, engines, streams):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    words = " ".join(f"'{word}'" for word in arguments(limit=20))

    shell = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m nemo_gym_lite.cli.collect_rollouts {words} {streams}",
        cwd=workspace.path,
        env={**os.environ, "XDG_STATE_HOME": str(workspace.path / "state")},
    )

    assert await asyncio.wait_for(shell.wait(), 60) == 0
    assert len(workspace.rows("results/rollouts.jsonl")) == 20
    assert workspace.json("results/rollouts_run.json")["status"] == "finished"


@pytest.mark.parametrize(
    ("what", "failure_class"), [("time.sleep(3600)", "timeout"), ("raise SystemExit(7)", "verify_failed")]
)
async def test_a_near_check_that_blocks_or_exits_costs_its_rollout_and_not_the_command(
    workspace, engines, what, failure_class
):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 2)
    workspace.write("resources_servers/stuck/app.py", STUCK.replace("WHAT", what))
    workspace.write("stuck.yaml", STUCK_CONFIG)

    run = await workspace.collect(
        "+config_paths=[responses_api_models/vllm_model/configs/vllm_model.yaml,stuck.yaml]",
        "+agent_name=stuck_agent",
        "+input_jsonl_fpath=tasks.jsonl",
        "+output_jsonl_fpath=results/rollouts.jsonl",
        "+deadlines.verify_s=0.5",
        timeout_s=30,
    )

    assert run.code == 3, run.err
    assert [row["_ng_failure_class"] for row in workspace.rows("results/rollouts_failures.jsonl")] == [
        failure_class
    ] * 2


async def test_what_failed_for_good_is_told_again_and_never_called_delivered(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write("tasks.jsonl", '{"responses_create_params": {"input": "2+2?"}}\n')  # gsm8k needs expected_answer

    first = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl"))
    again = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl"))

    assert (first.code, again.code) == (3, 3)
    assert "1 failed for good or 3 times in earlier runs" in again.err
    assert engine.stats.calls == 1


async def test_no_more_rollouts_are_in_flight_than_the_system_allows_files(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.1})
    workspace.points_to(engine.base_url)
    words = " ".join(f"'{word}'" for word in arguments(concurrency=500))

    shell = await asyncio.create_subprocess_shell(
        f"ulimit -n 128; {sys.executable} -m nemo_gym_lite.cli.collect_rollouts {words} 2>said.txt",
        cwd=workspace.path,
    )

    assert await asyncio.wait_for(shell.wait(), 60) == 0
    assert "warning: 32 rollouts in flight, not " in (workspace.path / "said.txt").read_text()
    assert workspace.json("results/rollouts_run.json")["counts"]["max_in_flight"] == 32
    assert "Too many open files" not in (workspace.path / "said.txt").read_text()


async def test_settings_that_json_does_not_know_neither_end_a_run_nor_look_changed(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write("odd.yaml", "weights: {1: 2, 3: .inf}\n")
    config, *others = arguments(limit=2)
    words = [config.replace("]", ",odd.yaml]"), *others]
    words.append("++policy_model.responses_api_models.vllm_model.extra_body={bias: .inf}")

    assert [(await workspace.collect(*words)).code for _ in range(2)] == [0, 0]


async def test_a_torn_manifest_is_told(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    await workspace.collect(*arguments(limit=2))
    workspace.write("results/rollouts_run.json", '{"schema_version": 1, "asked"')

    run = await workspace.collect(*arguments(limit=2))

    assert run.code == 0
    assert "results/rollouts_run.json is missing or torn" in run.err
