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
