"""Bodies as the reference was seen to send them, byte for byte where it was, near and far.

The values are those of the interface's appendix; what is random or a time is cut out before comparing.
"""

import base64
import json
import re

import aiohttp
import pytest
from fastapi.testclient import TestClient
from nemo_gym.base_resources_server import (
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym.openai_utils import NeMoGymResponseCreateParamsNonStreaming
from nemo_gym.server_utils import ServerClient
from pydantic import BaseModel

from nemo_gym_lite.config_types import Deadlines, HeadServerConfig
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.middleware import SESSION_ID_KEY
from nemo_gym_lite.serving.near_resources import NearResources
from responses_api_models.vllm_model.app import VLLMModel, VLLMModelConfig
from tests.agents.conftest import World, served_world, side, world
from tests.agents.conftest import message as said
from tests.models.conftest import Near, Served, upstream
from tests.serving.conftest import message, response_with, serving

__all__ = ["served_world", "side", "upstream", "world"]

PARAMS = (
    *("background", "include", "input", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model"),
    *("parallel_tool_calls", "previous_response_id", "prompt", "reasoning", "service_tier", "store", "temperature"),
    *("text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user", "stream"),
)
"""Fields of the create params, in their order: 22 and the input."""

UNSET = {**dict.fromkeys(PARAMS), "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
ROW = {
    "responses_create_params": {"input": "how warm is it?"},
    "agent_ref": {"type": "responses_api_agents", "name": "agent"},
    "_ng_task_index": 3,
    "foo": 1,
}


class City(BaseModel):
    city: str


class SimpleWeatherResourcesServer(SimpleResourcesServer):
    """A default server with one tool."""

    config: BaseResourcesServerConfig

    def setup_webserver(self):
        app = super().setup_webserver()
        app.post("/get_weather")(self.get_weather)
        return app

    async def get_weather(self, body: City) -> dict:
        return {"city": body.city, "weather": "cold"}

    async def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        return BaseVerifyResponse(**body.model_dump(), reward=1.0)


def weather():
    config = BaseResourcesServerConfig(host="127.0.0.1", port=0, entrypoint="app.py", name="wx")
    client = ServerClient(head_server_config=HeadServerConfig(), global_config_dict={})
    return SimpleWeatherResourcesServer(config=config, server_client=client)


@pytest.fixture(params=["near", "far"])
async def post(request):
    """The bytes that the environment replies to `post(path, value)`."""
    if request.param == "near":
        resources = NearResources(weather())

        async def near(path, value):
            status, body = await resources.call(path, json.dumps(value).encode(), {SESSION_ID_KEY: "s"}, 10)
            assert status == 200, body
            return body

        yield near
        await resources.close()
        return
    async with serving(weather().build_app()) as url, aiohttp.ClientSession() as http:

        async def far(path, value):
            async with http.post(f"{url}{path}", json=value) as reply:
                body = await reply.read()
                assert reply.status == 200, body
                return body

        yield far


def written(value):
    """JSON as servers write it: no spaces, keys in the order given."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def test_every_reply_sets_the_servers_cookie_with_a_session_id():
    with TestClient(weather().setup_webserver()) as client:
        reply = client.get("/reverify_mode")
    cookie = re.fullmatch(
        r"SimpleWeatherResourcesServer___wx=([\w+/=]+)\.[\w-]+\.[\w-]+; "
        r"path=/; Max-Age=1209600; httponly; samesite=lax",
        reply.headers["set-cookie"],
    )
    session = json.loads(base64.b64decode(cookie[1]))

    assert session.keys() == {"session_id"}
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", session["session_id"])
    assert reply.content == b'"unknown"'


async def test_seeding_a_default_server_replies_nothing(post):
    assert await post("/seed_session", ROW) == b"{}"


def test_a_rollouts_prefix_changes_no_reply():
    with TestClient(weather().setup_webserver()) as client:
        plain = client.post("/get_weather", json={"city": "Oslo"})
        prefixed = client.post("/ng-rollout/1-0/get_weather", json={"city": "Oslo"})

    assert plain.content == prefixed.content == b'{"city":"Oslo","weather":"cold"}'


async def test_verify_echoes_the_params_with_every_field_and_drops_what_nobody_declared(post):
    response = response_with([message("cold")])
    reply = await post("/verify", {**ROW, "response": response})
    verdict = json.loads(reply)

    assert len(PARAMS) == 1 + 22
    assert list(verdict) == ["responses_create_params", "response", "reward"]
    params = {**UNSET, "input": "how warm is it?"}
    assert reply.startswith(written({"responses_create_params": params})[:-1] + b',"response":{"id":"resp_1",')
    assert reply.endswith(b',"reward":1.0}')
    [item] = verdict["response"]["output"]
    assert list(item) == ["id", "content", "role", "status", "type"]
    assert list(verdict["response"])[:10] == [
        *("id", "created_at", "error", "incomplete_details", "instructions", "metadata", "model", "object"),
        *("output", "parallel_tool_calls"),
    ]


ROWS = [
    {
        "_ng_task_index": 0,
        "_ng_rollout_index": index,
        "reward": reward,
        "ok": ok,
        "response": {"usage": {"input_tokens": 3}},
    }
    for index, (reward, ok) in enumerate([(0.0, False), (1.0, True), (0.0, True)])
]
STATISTICS = {
    "mean/reward": 0.3333333333333333,
    "mean/ok": 0.6666666666666666,
    "mean/input_tokens": 3.0,
    "max/reward": 1.0,
    "max/ok": 1.0,
    "max/input_tokens": 3.0,
    "min/reward": 0.0,
    "min/ok": 0.0,
    "min/input_tokens": 3.0,
    "median/reward": 0.0,
    "median/ok": 1.0,
    "median/input_tokens": 3.0,
    "std/reward": 0.5773502691896258,
    "std/ok": 0.5773502691896258,
    "std/input_tokens": 0.0,
}
INFOS = [
    {
        "rollout_id": f"0:{index}",
        "_ng_task_index": 0,
        "_ng_rollout_index": index,
        "reward": reward,
        "input_tokens": 3,
        "ok": ok,
    }
    for index, (reward, ok) in enumerate([(0.0, 0), (1.0, 1), (0.0, 1)])
]
GROUP = {
    "_ng_task_index": 0,
    **STATISTICS,
    "sample": {"agent_ref": {"name": "agent"}},
    "num_rollouts": 3,
    "expected_num_rollouts": 3,
    "missing_num_rollouts": 0,
    "reward_profile_completion_pct": 100.0,
    "rollout_infos": INFOS,
}
AGGREGATE = {
    "group_level_metrics": [GROUP],
    "agent_metrics": STATISTICS,
    "key_metrics": {name: STATISTICS[name] for name in ("mean/reward", "mean/ok", "mean/input_tokens")},
}


async def test_metrics_have_the_references_values_names_and_order(post):
    assert await post("/aggregate_metrics", {"verify_responses": ROWS}) == written(AGGREGATE)


async def test_an_agents_metrics_are_the_environments(served_world: World):
    await served_world.agent()
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{served_world.agent_url}/aggregate_metrics", json={"verify_responses": ROWS}) as reply,
    ):
        assert await reply.read() == written(AGGREGATE)


async def test_run_replies_with_the_row_whose_params_are_whole(served_world: World):
    served_world.model.turns = [[said("three")]]
    await served_world.agent()
    row = {"responses_create_params": {"input": "count", "temperature": 0.5}, "start": 1}
    async with aiohttp.ClientSession() as http, http.post(f"{served_world.agent_url}/run", json=row) as reply:
        body = await reply.read()
    played = json.loads(body)

    params = {**UNSET, "input": "count", "temperature": 0.5}
    assert body.startswith(written({"responses_create_params": params})[:-1] + b",")
    assert played["responses_create_params"] == params
    assert (played["reward"], played["count"], played["start"]) == (0.0, 1, 1)
    assert played["response"]["output"] == [said("three")]


async def test_episodes_add_the_same_fields_near_and_far(world: World):
    world.model.turns = [[said("three")]]
    agent = await world.agent()
    played = await agent.run({"responses_create_params": {"input": "count"}, "start": 1})
    played["response"] = {name: value for name, value in played["response"].items() if name != "usage"}

    whole = {name: value for name, value in response_with([said("three")]).items() if name != "usage"}
    assert played == {"response": {**whole, "id": "resp"}, "reward": 0.0, "count": 1}


@pytest.fixture(params=["near", "far"])
async def model(request, upstream):
    """A vLLM model over an engine that gives recorded replies."""
    block = {"name": "policy_model", "host": "127.0.0.1", "port": 1, "entrypoint": "app.py"}
    config = VLLMModelConfig.model_validate({**block, "base_url": f"{upstream.url}/v1", "model": "tiny"})
    client = ServerClient(head_server_config=HeadServerConfig(), global_config_dict={})
    async with open_http() as http, serving(VLLMModel(config=config, server_client=client).build_app()) as url:
        near = Near(VLLMModel.client_of(config, http, Deadlines()))
        model = Served(url, http) if request.param == "far" else near
        model.url = url
        yield model


WITHOUT_CHANCE = re.compile(r'"(resp|msg|chatcmpl)[_-][0-9a-f]+"')
TEXT = " container<tool_call>lo doesn instancesconbest 23 hand<tool_call><tool_call><tool_call>[' Asancontext"
RESPONSE = {
    "id": "resp",
    "created_at": 1795201469.0,
    "error": None,
    "incomplete_details": {"reason": "max_output_tokens"},
    "instructions": None,
    "metadata": None,
    "model": "tiny",
    "object": "response",
    "output": [
        {
            "id": "msg",
            "content": [{"annotations": [], "text": TEXT, "type": "output_text", "logprobs": None}],
            "role": "assistant",
            "status": "completed",
            "type": "message",
        }
    ],
    "parallel_tool_calls": True,
    "temperature": 0.5,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 16,
    "output_tokens_details": {"reasoning_tokens": None},
    "total_tokens": 46,
}


def steady(body):
    """JSON text without ids."""
    return WITHOUT_CHANCE.sub(r'"\1"', body)


async def test_a_response_has_every_field_and_unknown_counts_stay_null(model):
    response = await model.respond({"input": "hello", "temperature": 0.5, "max_output_tokens": 16}, "s")
    body = steady(written(response).decode())

    assert body.startswith(written(RESPONSE).decode()[:-1] + ",")
    assert f'"usage":{written(USAGE).decode()}' in body
    assert response.keys() >= {"background", "conversation", "prompt_cache_key", "truncation", "user"}


async def test_a_chat_completion_is_the_engines_own(model, upstream):
    reply = await model.chat({"messages": [{"role": "user", "content": "hello"}]}, "s")

    assert reply == upstream.replies[0][1]


async def test_a_message_says_the_same_in_anthropics_words(model):
    request = {"model": "claude", "max_tokens": 16, "messages": [{"role": "user", "content": "hello"}]}
    async with aiohttp.ClientSession() as http, http.post(f"{model.url}/v1/messages", json=request) as reply:
        body = await reply.text()

    assert (
        steady(body)
        == written(
            {
                "id": "msg",
                "type": "message",
                "role": "assistant",
                "model": "claude",
                "content": [{"type": "text", "text": TEXT}],
                "stop_reason": "max_tokens",
                "stop_sequence": None,
                "usage": {"input_tokens": 30, "output_tokens": 16},
            }
        ).decode()
    )


def test_the_params_are_those_of_the_interface():
    assert tuple(NeMoGymResponseCreateParamsNonStreaming.model_fields) == PARAMS
