"""What becomes of an engine's answer, tried on answers recorded from vLLM."""

import copy

import pytest

from nemo_gym_lite.dialects.reply import empty_response, to_response, to_usage
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.openai_utils import NeMoGymResponse

PLAIN = DialectSettings(model="tiny")
NO_PARSER = DialectSettings(model="tiny", uses_reasoning_parser=False)
PARAMS = {"input": "hi", "temperature": 0.5, "metadata": {"k": "v"}, "top_p": None}


def chat(finish_reason="stop", **message):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "created": 1795201469, "choices": [choice], "usage": None}


def output(settings=PLAIN, **message):
    return to_response(chat(**message), PARAMS, settings)["output"]


def texts(items):
    return [item["content"][0]["text"] for item in items if item["type"] == "message"]


def test_a_recorded_answer_becomes_a_response(recorded):
    body = recorded("chat_plain")
    response = to_response(body, PARAMS, PLAIN)

    assert texts(response["output"]) == [body["choices"][0]["message"]["content"]]
    assert response["created_at"] == body["created"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["usage"] == {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 16,
        "output_tokens_details": {"reasoning_tokens": None},
        "total_tokens": 46,
    }


def test_recorded_reasoning_and_calls_become_items_in_this_order(recorded):
    body = recorded("chat_reasoning_tools")
    items = to_response(body, PARAMS, PLAIN)["output"]
    calls = body["choices"][0]["message"]["tool_calls"]

    assert [item["type"] for item in items] == ["reasoning", *["function_call"] * 3]
    assert items[0]["summary"] == [{"text": '"""', "type": "summary_text"}]
    assert [(item["id"], item["call_id"]) for item in items[1:]] == [(call["id"],) * 2 for call in calls]
    assert [item["arguments"] for item in items[1:]] == [call["function"]["arguments"] for call in calls]


def test_a_response_has_exactly_the_fields_and_values_of_the_validated_type(recorded):
    for name in ("chat_plain", "chat_reasoning_tools"):
        response = to_response(recorded(name), PARAMS, PLAIN)

        assert NeMoGymResponse.model_validate(response).model_dump() == response


def test_the_request_is_echoed_and_the_model_is_the_configured_one():
    response = to_response(chat(content="hi"), PARAMS | {"model": "other"}, PLAIN)

    assert (response["temperature"], response["metadata"], response["model"]) == (0.5, {"k": "v"}, "tiny")
    assert (response["tool_choice"], response["parallel_tool_calls"], response["tools"]) == ("auto", True, [])


def test_ids_differ_from_reply_to_reply():
    first, second = (to_response(chat(content="hi"), PARAMS, PLAIN) for _ in range(2))

    assert first["id"] != second["id"]
    assert first["output"][0]["id"] != second["output"][0]["id"]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_the_engines_reasoning_comes_before_reasoning_in_the_text(field):
    items = output(content="<think>b</think>c", **{field: "a"})

    assert [block["text"] for block in items[0]["summary"]] == ["a", "b"]
    assert texts(items) == ["c"]


def test_an_unfinished_thought_stays_text():
    assert texts(output(content="<think>cut o")) == ["<think>cut o"]


def test_without_a_parser_tags_stay_in_the_text():
    assert texts(output(NO_PARSER, content="<think>a</think>b")) == ["<think>a</think>b"]


def test_reasoning_that_the_configuration_does_not_expect_says_what_to_set():
    with pytest.raises(FailedCallError, match="uses_reasoning_parser: true") as refused:
        output(NO_PARSER, content="b", reasoning="a")

    assert refused.value.failure_class == "bad_reply"


@pytest.mark.parametrize("content", [None, ""])
def test_an_answer_that_says_nothing_is_one_empty_message(content):
    assert texts(output(content=content)) == [""]


def test_a_thought_alone_has_no_empty_message():
    assert [item["type"] for item in output(content="", reasoning="a")] == ["reasoning"]


@pytest.mark.parametrize(
    ("finish_reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        (None, "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_the_finish_reason_says_whether_the_answer_is_complete(finish_reason, status, details):
    response = to_response(chat(finish_reason, content="hi"), PARAMS, PLAIN)

    assert (response["status"], response["incomplete_details"]) == (status, details)


def test_an_aborted_answer_is_a_failure_and_not_a_short_answer():
    with pytest.raises(FailedCallError, match="aborted") as failed:
        to_response(chat("abort", content="the ans"), PARAMS, PLAIN)

    assert (failed.value.failure_class, failed.value.terminal) == ("server_error", False)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"tool_calls": [{"id": "c"}]}}]},
        {"choices": [{"message": {"content": "x"}}], "usage": {"total_tokens": 3}},
    ],
)
def test_a_malformed_reply_is_called_one(reply):
    with pytest.raises(FailedCallError, match="malformed") as failed:
        to_response(reply, PARAMS, PLAIN)

    assert (failed.value.failure_class, failed.value.terminal) == ("bad_reply", False)


@pytest.mark.parametrize(
    ("usage", "cached", "thought"),
    [
        ({}, None, None),
        ({"prompt_tokens_details": {"cached_tokens": 0}}, 0, None),
        ({"cached_input_tokens": 3}, 3, None),
        ({"cache_read_input_tokens": 4}, 4, None),
        ({"completion_tokens_details": {"reasoning_tokens": 2}}, None, 2),
        ({"reasoning_output_tokens": 1}, None, 1),
    ],
)
def test_token_details_are_what_the_engine_tells_and_else_unknown(usage, cached, thought):
    told = to_usage({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7} | usage)

    assert told["input_tokens_details"] == {"cached_tokens": cached}
    assert told["output_tokens_details"] == {"reasoning_tokens": thought}


def test_an_engine_that_counts_nothing_has_no_usage():
    assert to_response(chat(content="hi"), PARAMS, PLAIN)["usage"] is None


def test_logprobs_that_were_asked_for_are_on_the_text(recorded):
    body = recorded("chat_logprobs")
    (message,) = to_response(body, PARAMS | {"top_logprobs": 2}, PLAIN)["output"]

    assert message["content"][0]["logprobs"] == body["choices"][0]["logprobs"]["content"]


def test_a_prompt_too_long_gets_an_empty_incomplete_response():
    response = empty_response(PARAMS, PLAIN, "max_output_tokens", created_at_s=12.5)

    assert texts(response["output"]) == [""]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (response["usage"], response["created_at"]) == (None, 12.5)
    assert NeMoGymResponse.model_validate(response).model_dump() == response


def test_neither_side_is_changed(recorded):
    body, params = recorded("chat_reasoning_tools"), copy.deepcopy(PARAMS)
    before = copy.deepcopy(body)
    to_response(body, params, PLAIN)

    assert (body, params) == (before, PARAMS)
