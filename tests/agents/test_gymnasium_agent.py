"""What an episode in steps is, whether the loop runs in this process or as a server."""

import copy
from contextlib import AsyncExitStack

import aiohttp
import pytest
from fastapi import HTTPException, Request
from pydantic import Field

from nemo_gym_lite.base_resources_server import BaseResourcesServerConfig
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.serving.client import open_http
from resources_servers.gymnasium import GymnasiumServer, extract_text
from responses_api_agents.gymnasium_agent.app import (
    GymnasiumAgent,
    GymnasiumAgentConfig,
    GymnasiumAgentRunRequest,
    GymnasiumLoop,
    GymnasiumRunResponse,
)

from .conftest import BLOCK, World, call, message, usage


class Steps(GymnasiumServer):
    """Counts steps per session; the row says how each of them ends."""

    config: BaseResourcesServerConfig
    closed: list[str] = Field(default_factory=list)
    seen: list[dict] = Field(default_factory=list)

    async def reset(self, metadata, session_id=None):
        if metadata.get("refuses"):
            raise HTTPException(400, "no such game")
        self.session_state[session_id] = 0
        return metadata.get("opening"), metadata.get("promises", {})

    async def step(self, action, metadata, session_id=None):
        self.seen.append(metadata)
        at = self.session_state[session_id]
        self.session_state[session_id] += 1
        outputs = [self.tool_output(item, {"step": at}) for item in action.output if item.type == "function_call"]
        info = {"at": at, "said": extract_text(action), **({"tool_outputs": outputs} if outputs else {})}
        observation, reward, terminated, truncated = metadata["steps"][at]
        if observation == "break":
            raise RuntimeError("the board fell off the table")
        return observation, reward, terminated, truncated, info

    async def close_session(self, session_id):
        self.closed.append(session_id)
        await super().close_session(session_id)


class ClosesBadly(Steps):
    def setup_webserver(self):
        app = super().setup_webserver()
        app.post("/close")(self.close)
        return app

    async def close(self, request: Request) -> dict:
        self.closed.append("by route")
        raise HTTPException(503, "stuck")


GOES_ON, WON = ("go on", 0.25, False, False), (None, 1.0, True, False)


class StepsWorld(World):
    """The same with an environment in steps."""

    agent_class, config_class, loop_class = GymnasiumAgent, GymnasiumAgentConfig, GymnasiumLoop

    @property
    def steps(self):
        return self.played_in


@pytest.fixture
async def world(side):
    async with open_http() as http, AsyncExitStack() as stack:
        yield StepsWorld(side, http, stack, Steps)


@pytest.fixture
async def served_world():
    async with open_http() as http, AsyncExitStack() as stack:
        yield StepsWorld("far", http, stack, Steps)


def row_of(*steps, **fields):
    params = {"input": [{"role": "user", "content": "play"}], "temperature": 0.5}
    return {"responses_create_params": params, "steps": list(steps), "label": "x", **fields}


def user(text):
    return {"role": "user", "content": text, "type": "message"}


async def test_an_episode_goes_on_until_the_environment_ends_it_and_rewards_add_up(world):
    world.model.turns = [[message("one")], [message("two")]]
    world.model.extras = [{"usage": usage(10, 5)}, {"usage": usage(20, 1)}]
    agent = await world.agent()

    played = await agent.run(row_of(GOES_ON, WON))

    assert list(played) == ["response", "reward", "terminated", "truncated", "info"]
    assert (played["reward"], played["terminated"], played["truncated"]) == (1.25, True, False)
    assert played["info"] == {"at": 1, "said": "two"}
    assert played["response"]["output"] == [message("one"), user("go on"), message("two")]
    assert played["response"]["usage"] == usage(30, 6)


async def test_what_reset_shows_stands_after_the_prompt_and_in_the_row(world):
    world.model.turns = [[message("one")], [message("two")]]
    agent = await world.agent()
    row = row_of(GOES_ON, WON, opening="the board")
    before = copy.deepcopy(row)

    played = await agent.run(row)

    asked = [{"role": "user", "content": "play"}, user("the board")]
    assert [one["input"] for one in world.model.asked] == [asked, [*asked, message("one"), user("go on")]]
    assert played["responses_create_params"] == {"input": asked, "temperature": 0.5}
    assert row == before


async def test_a_text_prompt_becomes_a_message_where_something_follows_it(world):
    world.model.turns = [[message("one")]] * 2
    agent = await world.agent()
    row = row_of(WON)
    row["responses_create_params"]["input"] = "play"

    assert "responses_create_params" not in await agent.run(row)
    shown = await agent.run({**row, "opening": "the board"})
    assert shown["responses_create_params"]["input"] == [user("play"), user("the board")]


async def test_the_environment_gets_the_rows_fields_at_every_step(world):
    world.model.turns = [[message("one")], [message("two")]]
    agent = await world.agent()

    await agent.run(row_of(GOES_ON, WON, _ng_task_index=3))

    assert [(seen["label"], seen["_ng_task_index"]) for seen in world.steps.seen] == [("x", 3), ("x", 3)]
    assert all("response" not in seen and "_ng_step_request_id" not in seen for seen in world.steps.seen)


async def test_tool_outputs_answer_the_calls_of_a_turn(world):
    world.model.turns = [[call("look", "{}", "c1"), call("look", "{}", "c2")], [message("two")]]
    agent = await world.agent()

    played = await agent.run(row_of((None, 0.0, False, False), WON))

    outputs = [{"type": "function_call_output", "call_id": one, "output": '{"step": 0}'} for one in ("c1", "c2")]
    assert played["response"]["output"] == [*world.model.turns[0], *outputs, message("two")]


async def test_max_steps_truncates_and_the_environment_is_closed(world):
    world.model.turns = [[message("on")]] * 5
    agent = await world.agent(max_steps=2)

    played = await agent.run(row_of(*[GOES_ON] * 5))

    assert (played["reward"], played["terminated"], played["truncated"]) == (0.5, False, True)
    assert played["response"]["output"] == [message("on"), user("go on")] * 2
    assert (len(world.steps.closed), world.steps.session_state) == (1, {})


async def test_an_environment_may_truncate_by_itself(world):
    world.model.turns = [[message("on")]]
    agent = await world.agent()

    played = await agent.run(row_of(("enough", 0.5, False, True)))

    assert (played["reward"], played["terminated"], played["truncated"]) == (0.5, False, True)
    assert played["response"]["output"] == [message("on")]
    assert len(world.steps.closed) == 1


async def test_every_turn_is_of_one_model_session_and_the_models_is_forgotten(world):
    world.model.turns = [[message("one")], [message("two")]]
    agent = await world.agent()

    await agent.run(row_of(GOES_ON, WON, _ng_task_index=17))

    assert len(set(world.model.session_ids)) == 1
    assert world.model.session_ids[0].startswith("17-")


async def test_a_reset_that_fails_is_a_failure_of_its_own_class(world):
    agent = await world.agent()

    with pytest.raises(FailedCallError, match="no such game") as failure:
        await agent.run(row_of(WON, refuses=True))

    assert failure.value.failure_class == "seed_failed"
    assert world.model.asked == []


async def test_a_step_that_fails_is_no_reward_and_the_environment_is_closed(world):
    world.model.turns = [[message("one")], [message("two")]]
    world.model.extras = [{"usage": usage(10, 5)}]
    agent = await world.agent()

    with pytest.raises(FailedCallError, match="fell off") as failure:
        await agent.run(row_of(GOES_ON, ("break", 0.0, False, False)))

    assert failure.value.failure_class == "step_failed"
    assert failure.value.played == {"usage": usage(10, 5)}
    assert world.steps.session_state == {}


async def test_a_models_failure_keeps_its_class_and_the_environment_is_closed(world):
    world.model.turns = [[message("one")]]
    agent = await world.agent()

    with pytest.raises(FailedCallError, match="the script is over") as failure:
        await agent.run(row_of(GOES_ON, WON))

    assert failure.value.failure_class == "server_error"
    assert (len(world.steps.closed), world.steps.session_state) == (1, {})


async def test_an_environment_that_asks_for_it_is_closed_after_every_episode(world):
    world.model.turns = [[message("one")]]
    agent = await world.agent()

    await agent.run(row_of(WON))
    await agent.run(row_of(WON, promises={"supports_explicit_close": True, "supports_step_idempotency": True}))

    assert len(world.steps.closed) == 3  # each by its last step, and the second by the agent, too
    assert ["_ng_step_request_id" in seen for seen in world.steps.seen] == [False, True]


async def test_a_close_that_fails_is_told_in_the_row_and_costs_no_reward(world):
    world.environment(ClosesBadly)
    world.model.turns = [[message("one")]]
    agent = await world.agent()

    played = await agent.run(row_of(WON, promises={"supports_explicit_close": True}))

    assert played["reward"] == 1.0
    warning = played["info"]["cleanup_warning"]
    assert (warning["operation"], warning["error_type"]) == ("close", "FailedCallError")
    assert "stuck" in warning["message"]


async def test_run_replies_with_the_whole_row_to_whoever_asks(served_world):
    served_world.model.turns = [[message("one")]]
    await served_world.agent()

    async with aiohttp.ClientSession() as http:
        row = row_of(WON, opening="the board")
        played = await (await http.post(f"{served_world.agent_url}/run", json=row)).json()

    assert (played["label"], played["reward"]) == ("x", 1.0)
    assert played["responses_create_params"]["input"][1] == user("the board")


async def test_responses_is_one_turn_of_the_model(served_world):
    served_world.model.turns = [[message("one")]]
    await served_world.agent()

    async with aiohttp.ClientSession() as http:
        reply = await http.post(f"{served_world.agent_url}/v1/responses", json={"input": "hello"})
        answer = await reply.json()

    assert reply.status == 200
    assert answer["output"][0]["content"][0]["text"] == "one"


class Doubled(GymnasiumAgent):
    async def run(self, request: Request, body: GymnasiumAgentRunRequest) -> GymnasiumRunResponse:
        played = await super().run(request, body)
        return played.model_copy(update={"reward": 2 * played.reward, "doubled": True})


async def test_a_subclass_can_build_on_run(served_world):
    served_world.model.turns = [[message("one")]]
    agent = await served_world.agent(agent_class=Doubled)

    played = await agent.run(row_of(WON))

    assert (played["reward"], played["doubled"], played["terminated"]) == (2.0, True, True)


def test_an_episode_has_at_least_one_step_and_ten_by_default():
    refs = {
        "resources_server": {"name": "steps", "type": "resources_servers"},
        "model_server": {"name": "policy_model", "type": "responses_api_models"},
    }
    assert GymnasiumAgentConfig(**BLOCK, name="agent", **refs).max_steps == 10
    with pytest.raises(ValueError, match="max_steps"):
        GymnasiumAgentConfig(**BLOCK, name="agent", **refs, max_steps=0)
