"""A user's folder, engines that count, and runs in this process that are judged after half a second."""

from dataclasses import replace

import pytest

from nemo_gym_lite.bottleneck import witness
from nemo_gym_lite.bottleneck.loop_time import NO_TIME, LoopTime
from nemo_gym_lite.bottleneck.witness import Patience
from nemo_gym_lite.cli.collect_rollouts import _report as report
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.rollouts import collection
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.request import make_request
from nemo_gym_lite.rollouts.run import run
from tests.collect.conftest import engines, workspace  # noqa: F401
from tests.collect.workspace import VLLM

APP = '''
"""An environment that takes its time where its configuration says so."""

import asyncio
import time

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)


class SlowConfig(BaseResourcesServerConfig):
    check_s: float = 0.0
    tool_s: float = 0.0
    compute_s: float = 0.0


class Slow(SimpleResourcesServer):
    config: SlowConfig

    def setup_webserver(self):
        app = super().setup_webserver()
        app.post("/look_up")(self.look_up)
        return app

    async def look_up(self) -> dict[str, str]:
        await asyncio.sleep(self.config.tool_s)
        return {"found": "it"}

    async def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        await asyncio.sleep(self.config.check_s)
        ends_s = time.thread_time() + self.config.compute_s
        while time.thread_time() < ends_s:
            pass
        return BaseVerifyResponse(**body.model_dump(), reward=1.0)
'''

CONFIG = """
slow:
  resources_servers:
    slow: {entrypoint: app.py, placement: near}
agent:
  responses_api_agents:
    simple_agent:
      entrypoint: app.py
      resources_server: {type: resources_servers, name: slow}
      model_server: {type: responses_api_models, name: policy_model}
"""

TOOL = "{type: function, name: look_up, parameters: {type: object}}"
SCRIPT = '<script>[{{"tool_calls": [{{"name": "look_up", "arguments": {{}}}}]}}, "done"]</script> {n}'


@pytest.fixture
def collect(workspace, monkeypatch):  # noqa: F811
    """Plays rows with the environment above: `outcome = await collect([engine], 80, concurrency=8)`.

    It is judged as on a machine with a core for everybody; only where `computes` is said, event loops are busy at all.
    """
    judge = witness.held_back_by
    monkeypatch.chdir(workspace.path)
    monkeypatch.setenv("XDG_STATE_HOME", str(workspace.path / "state"))
    monkeypatch.setattr(collection, "PATIENCE", Patience(least_s=0.3, look_s=0.03, engines_s=0.06))
    workspace.write("resources_servers/slow/app.py", APP)
    workspace.write("resources_servers/slow/configs/slow.yaml", CONFIG)

    async def play(started, rows, *words, computes=False, **options):
        def judge_calmly(seen):
            players = LoopTime(sum(seen.players)) if computes else NO_TIME
            return judge(replace(seen, players=players, collector=NO_TIME))

        monkeypatch.setattr(witness, "held_back_by", judge_calmly)
        workspace.points_to(*(engine.base_url for engine in started))
        tasks = workspace.write_tasks("tasks.jsonl", rows, options.pop("text", "Say {n}."))
        given = {"agent_name": "agent", "input_jsonl_fpath": tasks.name, "output_jsonl_fpath": "out.jsonl"}
        argv = [f"+{name}={value}" for name, value in (given | options).items()]
        paths = f"+config_paths=[{VLLM},resources_servers/slow/configs/slow.yaml]"
        composed = compose([paths, *argv, *words], CollectOptions, needs_servers=False)
        request = make_request(composed.options)
        outcome = await run(composed, request)
        report(request, outcome)
        assert outcome.tally.delivered == len(workspace.rows("out.jsonl"))
        return outcome

    return play
