"""What a model server answers, and what its callers may rely on when it is behind HTTP."""

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from nemo_gym_lite.base_responses_api_model import BaseResponsesAPIModelConfig, SimpleResponsesAPIModel
from nemo_gym_lite.config_types import Deadlines, HeadServerConfig
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.openai_utils import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming
from nemo_gym_lite.server_utils import ServerClient
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.far_model import FarModel

from .conftest import message, response_with, serving


class Parrot(SimpleResponsesAPIModel):
    """Repeats the input, and tells the session."""

    config: BaseResponsesAPIModelConfig

    async def respond(self, params, session_id):
        match params["input"]:
            case "busy":
                raise FailedCallError("rate_limited", "all endpoints are busy", "wait")
            case "refuse":
                raise FailedCallError("bad_request", "no such model", terminal=True)
            case "bug":
                raise KeyError("choices")
            case "garbage":
                return {"nothing": True}
        return response_with([message(params["input"])], metadata={"session": session_id})

    async def chat(self, body, session_id):
        return {"echo": body, "session": session_id}


class TypedParrot(SimpleResponsesAPIModel):
    """The same in NeMo Gym's typed form."""

    async def responses(self, request: Request, body: NeMoGymResponseCreateParamsNonStreaming) -> NeMoGymResponse:
        return NeMoGymResponse.model_validate(response_with([message(body.input)]))


def make(cls=Parrot):
    config = BaseResponsesAPIModelConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="policy_model")
    return cls(config=config, server_client=ServerClient(head_server_config=HeadServerConfig(), global_config_dict={}))


@pytest.fixture
def client():
    with TestClient(make().build_app()) as client:
        yield client


def test_the_session_is_the_headers_else_the_cookies(client):
    named = client.post("/v1/responses", json={"input": "a"}, headers={"X-Session-ID": "s1"}).json()
    first = client.post("/v1/responses", json={"input": "a"}).json()
    second = client.post("/v1/responses", json={"input": "a"}).json()

    assert named["metadata"] == {"session": "s1"}
    assert first["metadata"] == second["metadata"] != named["metadata"]


def test_a_misspelt_parameter_is_refused_by_name(client):
    reply = client.post("/v1/responses", json={"input": "a", "temprature": 1, "top_q": 2})

    assert reply.status_code == 422
    assert [error["loc"] for error in reply.json()["detail"]] == [["body", "temprature"], ["body", "top_q"]]


@pytest.mark.parametrize("body", [b"{}", b"[]", b"", b'{"input": ', b'"text"'])
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions"])
def test_a_body_that_is_no_request_is_refused(client, path, body):
    reply = client.post(path, content=body, headers={"content-type": "application/json"})

    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"][0] == "body"


def test_unknown_fields_of_a_chat_request_are_left_out(client):
    reply = client.post("/v1/chat/completions", json={"messages": [], "seed": 1, "unheard_of": 2})

    assert reply.json()["echo"] == {"messages": [], "seed": 1}


def test_a_subclass_may_answer_in_types():
    with TestClient(make(TypedParrot).build_app()) as client:
        reply = client.post("/v1/responses", json={"input": "hello"}).json()
        refused = client.post("/v1/responses", json={"input": "hello", "temprature": 1})

    assert reply["output"][0]["content"][0]["text"] == "hello"
    assert refused.json()["detail"][0]["loc"] == ["body", "temprature"]


async def test_typed_callers_reach_a_plain_model():
    request = Request({"type": "http", "headers": [(b"x-session-id", b"s1")], "session": {}})
    body = NeMoGymResponseCreateParamsNonStreaming(input="hello")

    assert (await make().responses(request, body)).metadata == {"session": "s1"}


def test_a_model_is_served_unless_it_says_how_to_be_near():
    assert Parrot.near_client(None, None, Deadlines()) is None


@pytest.fixture
async def far():
    async with open_http() as http, serving(make().build_app()) as base_url:
        yield FarModel(base_url, http)


async def test_a_far_model_answers_with_the_session_it_was_asked_for(far):
    response = await far.respond({"input": "hello"}, "s7")

    assert response["output"] == [message("hello")]
    assert response["metadata"] == {"session": "s7"}
    far.end_session("s7")
    far.end_session("never heard of")


@pytest.mark.parametrize(
    ("text", "failure_class", "terminal"),
    [("busy", "rate_limited", False), ("refuse", "bad_request", True), ("bug", "server_error", False)],
)
async def test_a_far_models_failure_keeps_its_class(far, text, failure_class, terminal):
    with pytest.raises(FailedCallError) as failure:
        await far.respond({"input": text}, "s1")

    assert (failure.value.failure_class, failure.value.terminal) == (failure_class, terminal)


async def test_a_reply_without_output_is_a_bad_reply(far):
    with pytest.raises(FailedCallError, match="without `output`") as failure:
        await far.respond({"input": "garbage"}, "s1")

    assert failure.value.failure_class == "bad_reply"


async def test_params_that_a_far_model_refuses_are_a_bad_request(far):
    with pytest.raises(FailedCallError, match="Extra inputs") as failure:
        await far.respond({"input": "a", "temprature": 1}, "s1")

    assert failure.value.failure_class == "bad_request"
