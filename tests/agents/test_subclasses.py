"""What an agent that is built on the tool loop may rely on: its own methods are called, and nothing goes past them."""

import json

from fastapi import Request, Response

from nemo_gym_lite.openai_utils import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming
from responses_api_agents.simple_agent.app import SimpleAgent, SimpleAgentRunRequest, SimpleAgentVerifyResponse
from responses_api_models.simulated_model.server import running_engine
from responses_api_models.simulated_model.settings import EngineSettings
from tests.collect.workspace import VLLM, Workspace

from .conftest import call, message, usage


class Cautious(SimpleAgent):
    """Plays every conversation twice and keeps the second."""

    async def responses(
        self, request: Request, response: Response, body: NeMoGymResponseCreateParamsNonStreaming
    ) -> NeMoGymResponse:
        first = await super().responses(request, response, body)
        return first.model_copy(update={"metadata": {"cautious": "yes"}})


class Generous(SimpleAgent):
    """Doubles every reward."""

    async def run(self, request: Request, body: SimpleAgentRunRequest) -> SimpleAgentVerifyResponse:
        played = await super().run(request, body)
        return played.model_copy(update={"reward": 2 * played.reward})


async def test_turns_of_its_own_are_played_between_seeding_and_check(served_world, row):
    served_world.model.turns = [[call("add", '{"by": 2}')], [message("three")]]
    served_world.model.extras = [{"usage": usage(10, 5)}, {"usage": usage(20, 1)}]
    agent = await served_world.agent(agent_class=Cautious)

    played = await agent.run(row)

    assert (played["reward"], played["count"]) == (1.0, 3)
    assert played["response"]["metadata"] == {"cautious": "yes"}
    assert played["response"]["usage"]["total_tokens"] == 36


async def test_a_run_of_its_own_can_build_on_the_loops(served_world, row):
    served_world.model.turns = [[call("add", '{"by": 2}')], [message("three")]]
    agent = await served_world.agent(agent_class=Generous)

    played = await agent.run(row)

    assert (played["reward"], played["count"], played["label"]) == (2.0, 3, "x")


OWN = """
from fastapi import Request

from nemo_gym.base_resources_server import BaseVerifyResponse
from responses_api_agents.simple_agent.app import SimpleAgent, SimpleAgentRunRequest, SimpleAgentVerifyResponse


class OwnAgent(SimpleAgent):
    async def run(self, request: Request, body: SimpleAgentRunRequest) -> SimpleAgentVerifyResponse:
        played = await super().run(request, body)
        return SimpleAgentVerifyResponse.model_validate(played.model_dump() | {"by": "its own run"})
"""
CONFIG = """
own_agent:
  responses_api_agents:
    own_agent:
      entrypoint: app.py
      resources_server: {type: resources_servers, name: mcqa}
      model_server: {type: responses_api_models, name: policy_model}
"""


async def test_an_agent_that_plays_in_its_own_way_is_never_played_by_the_loop_that_it_inherits(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.write("responses_api_agents/own_agent/app.py", OWN)
    workspace.write("own.yaml", CONFIG)
    row = {
        "responses_create_params": {"input": '<script>["It is \\\\boxed{B}."]</script>'},
        "expected_answer": "B",
        "options": [{"A": "Lima"}, {"B": "Quito"}],
    }
    workspace.write("tasks.jsonl", json.dumps(row) + "\n")
    async with running_engine(EngineSettings()) as engine:
        workspace.points_to(engine.base_url)
        run = await workspace.collect(
            f"+config_paths=[{VLLM},resources_servers/mcqa/configs/mcqa.yaml,own.yaml]",
            "+agent_name=own_agent",
            "+input_jsonl_fpath=tasks.jsonl",
            "+output_jsonl_fpath=rollouts.jsonl",
        )

    assert run.code == 0, run.err
    (played,) = workspace.rows("rollouts.jsonl")
    assert (played["by"], played["reward"]) == ("its own run", 1.0)
