"""A model behind vLLM, near and served alike, against replies that vLLM gave."""

import asyncio

import pytest

from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.openai_utils import NeMoGymResponse
from responses_api_models.vllm_model.app import VLLMModel

from .conftest import recorded

HELLO = {"input": [{"role": "user", "content": "hello"}], "temperature": 0.5, "max_output_tokens": 16}


def text_of(response):
    return response["output"][-1]["content"][0]["text"]


async def test_a_turn_is_translated_there_and_back(model, upstream):
    client = await model(VLLMModel, base_url=f"{upstream.url}/v1/", model="tiny", api_key="secret")
    response = await client.respond(HELLO, "s1")
    _, chat = recorded("chat_plain")

    assert upstream.paths == ["/v1/chat/completions"]
    assert upstream.bodies == [
        {
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0.5,
            "max_tokens": 16,
            "model": "tiny",
        }
    ]
    assert upstream.headers[0]["Authorization"] == "Bearer secret"
    assert upstream.headers[0]["X-Session-ID"] == "s1"
    assert text_of(response) == chat["choices"][0]["message"]["content"]
    assert response["status"] == "incomplete"
    assert response["usage"]["output_tokens"] == chat["usage"]["completion_tokens"]
    NeMoGymResponse.model_validate(response)


async def test_reasoning_and_calls_come_as_items(model, upstream):
    upstream.replies = [recorded("chat_reasoning_tools")]
    client = await model(VLLMModel, base_url=upstream.url, model="tiny")
    kinds = [item["type"] for item in (await client.respond(HELLO, "s1"))["output"]]

    assert kinds[0] == "reasoning"
    assert "function_call" in kinds


async def test_token_ids_are_on_the_last_item_of_a_turn(model, upstream):
    upstream.replies = [recorded("chat_return_token_ids")]
    client = await model(VLLMModel, base_url=upstream.url, model="t", return_token_id_information=True)
    upstream.replies = [recorded("chat_tools_required_ids")]
    item = (await client.respond(HELLO, "s1"))["output"][-1]

    assert upstream.bodies[0]["return_token_ids"]
    assert len(item["generation_token_ids"]) == len(item["generation_log_probs"]) > 0
    assert item["prompt_token_ids"]


async def test_chat_replies_carry_the_token_ids_on_their_message(model, upstream):
    upstream.replies = [recorded("chat_tools_required_ids")]
    client = await model(VLLMModel, base_url=upstream.url, model="t", return_token_id_information=True)
    reply = await client.chat({"messages": [{"role": "user", "content": "hi"}]}, "s1")

    assert reply["choices"][0]["message"]["generation_token_ids"]
    assert reply["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("name", ["err_context_len_prompt", "err_context_len_max_tokens"])
async def test_a_prompt_too_long_for_the_model_is_an_empty_answer(model, upstream, name):
    upstream.replies = [recorded(name)]
    client = await model(VLLMModel, base_url=upstream.url, model="tiny")
    response = await client.respond(HELLO, "s1")
    chat = await client.chat({"messages": [{"role": "user", "content": "hi"}]}, "s1")

    assert (response["status"], response["incomplete_details"]["reason"]) == (
        "incomplete",
        "max_output_tokens",
    )
    assert text_of(response) == ""
    assert chat["choices"][0]["finish_reason"] == "length"
    assert len(upstream.paths) == 2


async def test_a_refusal_keeps_its_class_and_text_on_both_sides(model, upstream):
    upstream.replies = [recorded("err_bad_regex")]
    client = await model(VLLMModel, base_url=upstream.url, model="tiny")
    with pytest.raises(FailedCallError) as caught:
        await client.respond(HELLO, "s1")

    assert caught.value.failure_class == "bad_request"
    assert "Grammar error" in caught.value.message
    assert len(upstream.paths) == 1


async def test_a_wrong_model_name_fails_at_once_and_says_where_to_look(model, upstream):
    upstream.replies = [(404, {"error": {"message": "The model `nope` does not exist.", "code": 404}})]
    client = await model(VLLMModel, base_url=upstream.url, model="nope")
    with pytest.raises(FailedCallError) as caught:
        await client.respond(HELLO, "s1")

    assert "`nope` does not exist" in caught.value.message
    assert "/v1/models" in caught.value.hint


async def test_the_engine_s_death_is_survived_when_another_one_lives(model, upstream):
    died = (500, {"error": {"message": "EngineCore encountered an issue.", "code": 500}})
    upstream.replies = [died, recorded("chat_plain")]
    urls = f"{upstream.url}/a, {upstream.url}/b"
    client = await model(VLLMModel, base_url=urls, model="tiny")
    await client.respond(HELLO, "s1")

    assert sorted(upstream.paths) == ["/a/chat/completions", "/b/chat/completions"]


async def test_sessions_spread_over_the_endpoints_and_stay(model, upstream):
    client = await model(VLLMModel, base_url=[f"{upstream.url}/a", f"{upstream.url}/b"], model="tiny")
    for _ in range(3):
        await asyncio.gather(*(client.respond(HELLO, f"s{n}") for n in range(8)))
    homes = {}
    for headers, path in zip(upstream.headers, upstream.paths, strict=True):
        homes.setdefault(headers["X-Session-ID"], set()).add(path)

    assert all(len(paths) == 1 for paths in homes.values())
    assert upstream.paths.count("/a/chat/completions") == 12


async def test_the_configured_model_wins_unless_none_is_configured(model, upstream):
    for configured, expected in (("tiny", "tiny"), ("", "theirs")):
        client = await model(VLLMModel, base_url=upstream.url, model=configured)
        response = await client.respond(HELLO | {"model": "theirs"}, "s1")

        assert upstream.bodies[-1]["model"] == expected
        assert response["model"] == expected


async def test_settings_reach_the_request(model, upstream):
    client = await model(
        VLLMModel,
        base_url=upstream.url,
        model="tiny",
        extra_body={"top_k": 20},
        sampling_overrides={"temperature": 0.1},
        chat_template_kwargs={"enable_thinking": False},
        default_headers={"X-Team": "rl"},
    )
    await client.respond(HELLO, "s1")
    body = upstream.bodies[0]

    assert (body["top_k"], body["temperature"]) == (20, 0.1)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert upstream.headers[0]["X-Team"] == "rl"


async def test_a_native_server_gets_the_responses_request_itself(model, upstream):
    upstream.replies = [recorded("responses_plain")]
    client = await model(VLLMModel, base_url=upstream.url, model="tiny", is_responses_native=True)
    response = await client.respond(HELLO | {"model": "x"}, "s1")

    assert upstream.paths == ["/responses"]
    assert upstream.bodies == [HELLO | {"model": "tiny"}]
    assert response == recorded("responses_plain")[1]


async def test_a_model_that_may_not_think_twice_is_not_asked_again(model, upstream):
    client = await model(VLLMModel, base_url=upstream.url, model="t", sequential_reasoning_allowed=False)
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hmm"}]}
    response = await client.respond({"input": [*HELLO["input"], thought]}, "s1")

    assert response["incomplete_details"] == {"reason": "content_filter"}
    assert upstream.paths == []
