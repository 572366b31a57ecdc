"""Model servers as clients see them that stream or speak Anthropic's dialect."""

import json
from types import SimpleNamespace

import openai
import pytest
from fastapi.testclient import TestClient

from nemo_gym_lite.base_responses_api_model import BaseResponsesAPIModelConfig, SimpleResponsesAPIModel
from nemo_gym_lite.config_types import Deadlines, HeadServerConfig
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.openai_utils import (
    NeMoGymChatCompletion,
    NeMoGymChatCompletionCreateParamsNonStreaming,
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
)
from nemo_gym_lite.server_utils import ServerClient
from nemo_gym_lite.serving.client import open_http
from responses_api_models.openai_model.app import OpenAIModel, OpenAIModelConfig
from responses_api_models.simulated_model.app import ServedEngine, SimulatedModel, SimulatedModelConfig
from tests.dialects.test_streams import events

from .conftest import message, response_with, serving

CALL = {"type": "function_call", "id": "c1", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'}
USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": None},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": None},
    "total_tokens": 5,
}


def completion(text):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def answer(params):
    """The last message, and a call if there are tools."""
    last = params["input"] if isinstance(params["input"], str) else params["input"][-1]["content"]
    match last:
        case "busy":
            raise FailedCallError("rate_limited", "all endpoints are busy", "wait")
        case "bug":
            raise KeyError("choices")
    return response_with([message(last), *([CALL] if params.get("tools") else [])], usage=USAGE)


class Plain(SimpleResponsesAPIModel):
    """Answers plain JSON."""

    config: BaseResponsesAPIModelConfig

    async def respond(self, params, session_id):
        return answer(params) | {"metadata": {"session": session_id, "instructions": str(params.get("instructions"))}}

    async def chat(self, body, session_id):
        return completion(f"{sorted(body)} {body['messages'][-1]['content']}")


class Typed(SimpleResponsesAPIModel):
    """Answers in NeMo Gym's types, without asking for the request."""

    config: BaseResponsesAPIModelConfig

    async def responses(self, body: NeMoGymResponseCreateParamsNonStreaming) -> NeMoGymResponse:
        params = body.model_dump(exclude_unset=True)
        told = {"instructions": str(params.get("instructions"))}
        return NeMoGymResponse.model_validate(answer(params) | {"metadata": told})

    async def chat_completions(self, body: NeMoGymChatCompletionCreateParamsNonStreaming) -> NeMoGymChatCompletion:
        params = body.model_dump(exclude_unset=True)
        return NeMoGymChatCompletion.model_validate(completion(f"{sorted(params)} {params['messages'][-1]['content']}"))


def made(cls, config_class=BaseResponsesAPIModelConfig, **settings):
    config = config_class(host="127.0.0.1", port=1, entrypoint="app.py", name="policy_model", **settings)
    return cls(config=config, server_client=ServerClient(head_server_config=HeadServerConfig(), global_config_dict={}))


@pytest.fixture(params=[Plain, Typed])
def client(request):
    with TestClient(made(request.param).build_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(params=[Plain, Typed])
async def service(request):
    """OpenAI's own client of a served model."""
    async with (
        serving(made(request.param).build_app()) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as service,
    ):
        yield service


def streamed(client, path, **body):
    reply = client.post(path, json={**body, "stream": True})
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    return events(reply.content)


async def test_openais_client_reads_a_response_that_streams(service):
    stream = await service.responses.create(model="m", input="hello", stream=True)
    seen = [event async for event in stream]

    assert [event.type for event in seen] == ["response.created", "response.output_item.done", "response.completed"]
    assert seen[-1].response.output_text == "hello"
    assert seen[-1].response.usage.total_tokens == 5


async def test_openais_client_reads_a_chat_that_streams(service):
    messages = [{"role": "user", "content": "hello"}]
    options = {"include_usage": True}
    stream = await service.chat.completions.create(model="m", messages=messages, stream=True, stream_options=options)
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    assert text == "['messages', 'model'] hello"
    assert chunks[-1].usage.total_tokens == 5


def test_a_request_that_streams_may_hold_what_another_one_may_not(client):
    body = {"input": [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hi"}], "wire": 1}
    refused = client.post("/v1/responses", json=body)
    completed = streamed(client, "/v1/responses", **body, tools=[{"type": "web_search"}])[-1]

    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "wire"])
    assert completed["response"]["metadata"]["instructions"] == "be brief"
    assert [item["type"] for item in completed["response"]["output"]] == ["message"]


@pytest.mark.parametrize(("text", "told"), [("busy", "all endpoints are busy"), ("bug", "choices")])
def test_a_failure_behind_a_stream_ends_it_with_status_200(client, text, told):
    created, failed = streamed(client, "/v1/responses", input=text)

    assert (created["type"], failed["type"]) == ("response.created", "response.failed")
    assert told in failed["response"]["error"]["message"]


def test_a_stream_without_input_is_refused_before_it_begins(client):
    reply = client.post("/v1/responses", json={"stream": True})

    assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, ["body", "input"])


@pytest.mark.parametrize("stream", [1, "true", "false"])
def test_a_chat_streams_for_true_itself_only(client, stream):
    reply = client.post("/v1/chat/completions", json={"messages": [], "stream": stream})

    assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, ["body", "stream"])


def test_messages_are_answered_through_the_responses_side(client):
    body = {
        "model": "claude",
        "max_tokens": 9,
        "system": "be brief",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    }
    whole = client.post("/v1/messages", json=body).json()
    seen = streamed(client, "/v1/messages", **body)

    assert whole.pop("id").startswith("msg_")
    assert whole == {
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [
            {"type": "text", "text": "hi"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    assert [event["type"] for event in seen if "block" not in event["type"]] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    assert "".join(event["delta"].get("text", "") for event in seen if event["type"] == "content_block_delta") == "hi"


@pytest.mark.parametrize(
    ("content", "status"), [("busy", 429), ([{"type": "document"}], 400), ("bug", 500), (None, 400)]
)
def test_a_messages_request_that_fails_is_an_error_and_no_stream(client, content, status):
    body = {"messages": [{"role": "user", "content": content}], "stream": True}

    assert client.post("/v1/messages", json=body).status_code == status


def test_the_rollout_in_a_path_is_the_session_of_its_calls():
    with TestClient(made(Plain).build_app()) as client:
        for rollout in ("3-0", "3-1"):
            url = f"/ng-rollout/{rollout}/v1/responses"
            assert client.post(url, json={"input": "hi"}).json()["metadata"]["session"] == rollout
            completed = streamed(client, url, input="hi")[-1]
            assert completed["response"]["metadata"]["session"] == rollout
        named = client.post("/ng-rollout/3-0/v1/responses", json={"input": "hi"}, headers={"X-Session-ID": "own"})

    assert named.json()["metadata"]["session"] == "own"


def test_only_a_service_that_runs_tools_of_its_own_is_offered_them():
    search = {"type": "web_search"}

    assert not made(Plain).takes_tool(search)
    settings = {"openai_base_url": "http://127.0.0.1:1/v1", "openai_api_key": "k"}
    assert made(OpenAIModel, OpenAIModelConfig, **settings).takes_tool(search)


@pytest.fixture
async def http():
    async with open_http() as session:
        yield session


@pytest.fixture
async def simulated(unused_tcp_port, http):
    """The simulated engine as `ng_run` serves it."""
    settings = {"host": "127.0.0.1", "port": unused_tcp_port, "entrypoint": "app.py", "name": "policy_model"}
    near = SimulatedModel.near_client(SimpleNamespace(config=settings), http, Deadlines())
    engine = ServedEngine(SimulatedModelConfig.model_validate(settings), near)
    await engine.start(port=unused_tcp_port)
    yield engine.url
    await engine.stop()


@pytest.mark.parametrize("prefix", ["", "/ng-rollout/0-1"])
async def test_the_simulated_engine_speaks_all_dialects_too(simulated, http, prefix):
    script = f"<script>{json.dumps(['hello there'])}</script>"
    user = {"role": "user", "content": script}
    async with openai.AsyncOpenAI(base_url=f"{simulated}{prefix}/v1", api_key="none") as service:
        chat = await service.chat.completions.create(model="simulated", messages=[user], stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in chat])
        responses = await service.responses.create(model="simulated", input=script, stream=True)
        last = [event async for event in responses][-1]
    reply = await http.post(f"{simulated}{prefix}/v1/messages", json={"model": "m", "messages": [user]})

    assert text == last.response.output_text == (await reply.json())["content"][0]["text"] == "hello there"
