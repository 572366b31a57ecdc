import json
from http.cookies import SimpleCookie
from unittest.mock import AsyncMock, MagicMock, call

import aiohttp
import pytest
from app import SecondLookAgent, SecondLookAgentConfig
from fastapi.testclient import TestClient

from nemo_gym.base_responses_api_agent import SimpleResponsesAPIAgent
from nemo_gym.config_types import ModelServerRef, ResourcesServerRef
from nemo_gym.server_utils import ServerClient, raise_for_status

USAGE = {
    "input_tokens": 2,
    "input_tokens_details": {"cached_tokens": None},
    "output_tokens": 1,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 3,
}


def answer(text):
    return {
        "id": "resp",
        "created_at": 0.0,
        "model": "m",
        "object": "response",
        "output": [
            {
                "type": "message",
                "id": "msg",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": USAGE,
    }


def reply(value, cookie=""):
    made = MagicMock()
    made.ok, made.status, made.cookies = True, 200, SimpleCookie(cookie)
    made.read = AsyncMock(return_value=json.dumps(value).encode())
    made.json = AsyncMock(return_value=value)
    return made


@pytest.fixture
def agent():
    config = SecondLookAgentConfig(
        host="0.0.0.0",
        port=8080,
        entrypoint="",
        name="looker",
        resources_server=ResourcesServerRef(type="resources_servers", name="env"),
        model_server=ModelServerRef(type="responses_api_models", name="policy_model"),
    )
    return SecondLookAgent(config=config, server_client=MagicMock(spec=ServerClient))


def test_sanity(agent):
    assert isinstance(agent, SimpleResponsesAPIAgent)
    assert agent.config.skip_verification is False


def test_the_model_is_asked_twice_in_its_own_session(agent):
    agent.server_client.post = AsyncMock(side_effect=[reply(answer("one"), "m=1"), reply(answer("two"), "m=2")])
    client = TestClient(agent.setup_webserver(), cookies={"env": "7"})
    played = client.post("/v1/responses", json={"input": "how many?"})
    assert played.status_code == 200, played.text
    first, second = agent.server_client.post.call_args_list
    assert first.kwargs["cookies"] is None
    assert second.kwargs["cookies"]["m"].value == "1"
    assert second.kwargs["url_path"] == "/v1/responses"
    asked = second.kwargs["json"].model_dump(mode="json", exclude_unset=True)["input"]
    assert [item["role"] for item in asked] == ["user", "assistant", "user"]
    assert asked[-1]["content"] == "Look again, then answer."
    assert [item["content"][0]["text"] for item in played.json()["output"]] == ["one", "two"]
    assert played.json()["usage"]["total_tokens"] == 6
    assert played.json()["usage"]["input_tokens_details"]["cached_tokens"] is None
    assert dict(played.cookies)["m"] == "2"
    assert dict(played.cookies)["env"] == "7"


def test_a_run_seeds_plays_and_verifies_in_the_environments_session(agent):
    row = {"responses_create_params": {"input": "hi"}, "expected_answer": "4"}
    echo = row | {"response": answer("4"), "reward": 1.0, "extracted": "4"}
    agent.server_client.post = AsyncMock(
        side_effect=[reply({}, "env=1"), reply(answer("4"), "env=1; m=2"), reply(echo)]
    )
    done = TestClient(agent.setup_webserver()).post("/run", json=row)
    assert done.status_code == 200, done.text
    assert done.json()["reward"] == 1.0
    assert done.json()["looks"] == 2
    assert done.json()["extracted"] == "4"
    calls = agent.server_client.post.call_args_list
    assert [each.kwargs["server_name"] for each in calls] == ["env", "looker", "env"]
    assert [each.kwargs["url_path"] for each in calls] == ["/seed_session", "/v1/responses", "/verify"]
    assert calls[2].kwargs["json"]["expected_answer"] == "4"
    assert sorted(calls[2].kwargs["cookies"]) == ["env", "m"]


def test_rows_must_say_what_to_ask(agent):
    client = TestClient(agent.setup_webserver())
    assert client.post("/run", json={"expected_answer": "4"}).status_code == 422
    assert client.post("/v1/responses", json={"input": "hi", "seed": 1}).status_code == 422


async def test_an_error_of_a_server_keeps_its_body(agent):
    bad = MagicMock()
    bad.ok, bad.status = False, 500
    bad.content.read = AsyncMock(return_value=b"no such parcel")
    bad.raise_for_status = MagicMock(
        side_effect=aiohttp.ClientResponseError(request_info=MagicMock(), history=(), status=500)
    )
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await raise_for_status(bad)
    assert caught.value.response_content == b"no such parcel"


def test_metrics_are_the_environments(agent):
    agent.server_client.post = AsyncMock(return_value=reply({"agent_metrics": {"mean/reward": 1.0}}))
    metrics = TestClient(agent.setup_webserver()).post("/aggregate_metrics", json={"verify_responses": []}).json()
    assert metrics == {"group_level_metrics": [], "agent_metrics": {"mean/reward": 1.0}, "key_metrics": {}}
    assert agent.server_client.post.call_args == call(
        server_name="env", url_path="/aggregate_metrics", json=agent.server_client.post.call_args.kwargs["json"]
    )


def test_paths_stay_as_they_are_where_nothing_is_captured(agent):
    body = MagicMock()
    assert agent.url_path_for_run("/v1/responses", body) == "/v1/responses"
    assert agent.base_url_for_run("http://model/v1", body) == "http://model/v1"
    assert agent.rollout_id_from_run(body) is None
