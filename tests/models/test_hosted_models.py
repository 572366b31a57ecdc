"""Models behind OpenAI's and Azure's APIs, near and served alike."""

import asyncio

import pytest

from nemo_gym_lite.errors import FailedCallError
from responses_api_models.azure_openai_model.app import AzureOpenAIModel
from responses_api_models.openai_model.app import OpenAIModel

from .conftest import recorded

HELLO = {"input": [{"role": "user", "content": "hello"}], "max_output_tokens": 16, "service_tier": "scale"}
OVERFLOW = (400, {"error": {"message": "Your input exceeds the context window", "code": "invalid_request"}})


def openai(upstream, **settings):
    return {"openai_base_url": f"{upstream.url}/v1", "openai_api_key": "sk-1", **settings}


async def test_openai_gets_the_request_as_it_is(model, upstream):
    upstream.replies = [recorded("responses_plain")]
    client = await model(OpenAIModel, **openai(upstream, openai_model="gpt", extra_body={"store": False}))
    response = await client.respond(HELLO, "s1")

    assert upstream.paths == ["/v1/responses"]
    assert upstream.bodies == [HELLO | {"model": "gpt", "store": False}]
    assert upstream.headers[0]["Authorization"] == "Bearer sk-1"
    assert response == recorded("responses_plain")[1]


@pytest.mark.parametrize(("server", "reply"), [(OpenAIModel, "responses_plain"), (AzureOpenAIModel, "chat_plain")])
async def test_the_request_s_model_wins(model, upstream, server, reply):
    upstream.replies = [recorded(reply)]
    client = await model(server, **openai(upstream, openai_model="gpt-4o"))
    await client.respond(HELLO | {"model": "gpt-4o-mini"}, "s1")
    await client.respond(HELLO, "s1")

    assert [body["model"] for body in upstream.bodies] == ["gpt-4o-mini", "gpt-4o"]


async def test_a_call_that_names_no_model_fails_and_says_how_to_name_one(model, upstream):
    client = await model(OpenAIModel, **openai(upstream))
    with pytest.raises(FailedCallError) as caught:
        await client.respond(HELLO, "s1")

    assert caught.value.failure_class == "bad_request"
    assert "+responses_create_params.model=" in caught.value.hint
    assert upstream.paths == []


async def test_openai_chat_is_forwarded(model, upstream):
    client = await model(OpenAIModel, **openai(upstream, openai_model="gpt"))
    reply = await client.chat({"messages": [{"role": "user", "content": "hi"}]}, "s1")

    assert upstream.paths == ["/v1/chat/completions"]
    assert reply == recorded("chat_plain")[1]


async def test_reasoning_items_are_left_out_where_the_service_does_not_take_them_back(model, upstream):
    upstream.replies = [recorded("responses_plain")]
    settings = openai(upstream, openai_model="gpt", drop_input_reasoning_items=True)
    client = await model(OpenAIModel, **settings)
    await client.respond({"input": [*HELLO["input"], {"type": "reasoning", "id": "r", "summary": []}]}, "s1")

    assert upstream.bodies[0]["input"] == HELLO["input"]


@pytest.mark.parametrize("server", [OpenAIModel, AzureOpenAIModel])
async def test_a_prompt_too_long_for_a_hosted_model_is_an_empty_answer(model, upstream, server):
    upstream.replies = [OVERFLOW]
    client = await model(server, **openai(upstream, openai_model="gpt"))
    response = await client.respond(HELLO, "s1")
    chat = await client.chat({"messages": [{"role": "user", "content": "hi"}]}, "s1")

    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert chat["choices"][0]["finish_reason"] == "length"


async def test_a_parameter_that_the_model_does_not_know_is_no_overflow(model, upstream):
    upstream.replies = [(400, {"error": {"message": "Unsupported parameter: 'max_tokens'"}})]
    client = await model(AzureOpenAIModel, **openai(upstream, openai_model="gpt"))
    with pytest.raises(FailedCallError, match="Unsupported parameter"):
        await client.respond(HELLO, "s1")


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"),
        ("/openai/v1", "/openai/v1/chat/completions?api-version=2024-10-21"),
    ],
)
async def test_azure_gets_chat_at_the_deployment_s_path(model, upstream, base, path):
    client = await model(
        AzureOpenAIModel,
        openai_base_url=upstream.url + base,
        openai_api_key="key-1",
        openai_model="my-gpt",
        default_query={"api-version": "2024-10-21"},
    )
    response = await client.respond(HELLO, "s1")

    assert upstream.paths == [path]
    assert upstream.headers[0]["api-key"] == "key-1"
    assert upstream.bodies[0]["service_tier"] == "scale"
    assert upstream.bodies[0]["max_completion_tokens"] == 16
    assert response["usage"]["total_tokens"] == recorded("chat_plain")[1]["usage"]["total_tokens"]


async def test_azure_s_rate_limit_is_waited_out(model, upstream):
    upstream.replies = [(429, {"error": {"message": "slow down"}}), recorded("chat_plain")]
    client = await model(AzureOpenAIModel, **openai(upstream, openai_model="gpt", num_concurrent_requests=2))
    await asyncio.gather(*(client.respond(HELLO, f"s{n}") for n in range(5)))

    assert len(upstream.paths) == 6
