"""What Anthropic's clients ask, and what they are answered, in terms of Responses."""

import pytest

from nemo_gym_lite.dialects.messages import to_message, to_params
from nemo_gym_lite.errors import FailedCallError

HELLO = {"role": "user", "content": "hello"}


def asks(*blocks, role="user"):
    return to_params({"messages": [{"role": role, "content": list(blocks)}]})["input"]


def answers(*items, **more):
    return to_message({"output": list(items), **more}, "asked-for")


def test_a_request_keeps_its_meaning():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    params = to_params(
        {
            "model": "m",
            "max_tokens": 50,
            "temperature": 0.0,
            "top_p": 0.9,
            "top_k": 5,
            "stream": True,
            "system": [{"type": "text", "text": "be brief"}, {"type": "text", "text": "be kind"}],
            "messages": [HELLO],
            "tools": [{"name": "f", "description": "does f", "input_schema": schema}, {"name": "g"}],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        }
    )

    assert params == {
        "model": "m",
        "max_output_tokens": 50,
        "temperature": 0.0,
        "top_p": 0.9,
        "instructions": "be brief\nbe kind",
        "input": [{"type": "message", **HELLO}],
        "tools": [
            {"type": "function", "name": "f", "parameters": schema, "strict": False, "description": "does f"},
            {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": False},
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
    }


@pytest.mark.parametrize(("theirs", "ours"), [("auto", "auto"), ("none", "none"), ("any", "required")])
def test_a_tool_choice_goes_by_another_name(theirs, ours):
    assert to_params({"messages": [HELLO], "tool_choice": {"type": theirs}})["tool_choice"] == ours


def test_a_conversation_keeps_its_order():
    said = asks(
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "text", "text": "I look"},
        {"type": "text", "text": "it up"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"city": "Bogotá"}},
        role="assistant",
    )
    heard = asks(
        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "20"}]},
        {"type": "tool_result", "tool_use_id": "c2"},
        {"type": "text", "text": "and now?", "cache_control": {"type": "ephemeral"}},
    )

    assert said[0].pop("id").startswith("rs_")
    assert said == [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "sig"},
        {"type": "message", "role": "assistant", "content": "I look"},
        {"type": "message", "role": "assistant", "content": "it up"},
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "f",
            "arguments": '{"city": "Bogotá"}',
            "id": "c1",
            "status": "completed",
        },
    ]
    assert heard == [
        {"type": "function_call_output", "call_id": "c1", "output": "20"},
        {"type": "function_call_output", "call_id": "c2", "output": ""},
        {"type": "message", "role": "user", "content": "and now?"},
    ]


def test_text_and_images_make_one_message():
    source = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    [message] = asks({"type": "text", "text": "what is it?"}, {"type": "image", "source": source})

    assert message["content"] == [
        {"type": "input_text", "text": "what is it?"},
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "auto"},
    ]


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"type": "document"}, "'document'"),
        ({"type": "image", "source": {"type": "url", "url": "x"}}, "'url'"),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": ""}}, "'image/tiff'"),
        ({"type": "tool_result", "tool_use_id": "c", "content": [{"type": "image"}]}, "tool_result with image"),
        ({"text": "no type"}, "malformed"),
        ("text", "malformed"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(block, told):
    with pytest.raises(FailedCallError, match=told) as refused:
        asks(block)

    assert (refused.value.failure_class, refused.value.terminal) == ("bad_request", True)


def test_an_answer_has_thoughts_text_and_calls():
    reply = answers(
        {"type": "reasoning", "summary": [{"text": "hm"}], "encrypted_content": None, "prompt_token_ids": [1]},
        {"type": "message", "content": [{"type": "output_text", "text": "so"}, {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
        usage={"input_tokens": 3, "output_tokens": 2},
    )

    assert reply.pop("id").startswith("msg_")
    assert reply == {
        "type": "message",
        "role": "assistant",
        "model": "asked-for",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "so"},
            {"type": "text", "text": "no"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }


@pytest.mark.parametrize(
    ("details", "reason"),
    [(None, "end_turn"), ({"reason": "max_output_tokens"}, "max_tokens"), ({"reason": "content_filter"}, "refusal")],
)
def test_an_answer_says_why_it_ends(details, reason):
    reply = answers({"type": "message", "content": []}, incomplete_details=details, usage=None)

    assert reply["stop_reason"] == reason
    assert reply["usage"] == {"input_tokens": 0, "output_tokens": 0}


def test_arguments_that_are_no_object_reach_the_harness_and_come_back_as_they_were():
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1'}
    [block] = answers(call)["content"]
    [replayed] = asks(block, role="assistant")

    assert block["input"] == {"_raw": '{"a": 1'}
    assert replayed == {**call, "id": "c1", "status": "completed"}


def test_an_item_that_only_another_service_knows_is_a_bad_reply():
    with pytest.raises(FailedCallError, match="web_search_call") as failure:
        answers({"type": "web_search_call"})

    assert failure.value.failure_class == "bad_reply"
