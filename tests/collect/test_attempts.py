"""A rollout that fails in every run is given up at last, and the user is told how to try it again."""

from tests.collect.workspace import VLLM

MOODY = """
from pathlib import Path
from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig, BaseVerifyRequest, BaseVerifyResponse, SimpleResourcesServer,
)

class Moody(SimpleResourcesServer):
    config: BaseResourcesServerConfig

    def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        assert Path("mended").exists(), "not today"
        return BaseVerifyResponse(**body.model_dump(), reward=1.0)
"""
CONFIG = """
moody: {resources_servers: {moody: {entrypoint: app.py, domain: math, placement: near}}}
moody_agent: {responses_api_agents: {simple_agent: {entrypoint: app.py,
  resources_server: {type: resources_servers, name: moody},
  model_server: {type: responses_api_models, name: policy_model}}}}
"""


async def test_what_failed_as_often_as_it_may_is_not_played_again_before_the_user_says_so(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 2)
    workspace.write("resources_servers/moody/app.py", MOODY)
    workspace.write("moody.yaml", CONFIG)
    words = [f"+config_paths=[{VLLM},moody.yaml]", "+agent_name=moody_agent", "+input_jsonl_fpath=tasks.jsonl"]

    async def run(attempts):
        out = "+output_jsonl_fpath=results/rollouts.jsonl"
        finished = await workspace.collect(*words, out, f"+max_rollout_attempts={attempts}")
        return finished, engine.stats.calls

    assert [(await run(2))[1] for _ in range(3)] == [2, 4, 4]
    last, _ = await run(2)
    workspace.write("mended", "")
    mended, calls = await run(3)

    assert last.code == 3
    assert "2 failed for good or 2 times in earlier runs and were not tried again" in last.err
    assert "+max_rollout_attempts=3 tries" in last.err
    assert (mended.code, calls) == (0, 6)
    assert [row["_ng_attempt_index"] for row in workspace.rows("results/rollouts.jsonl")] == [2, 2]
