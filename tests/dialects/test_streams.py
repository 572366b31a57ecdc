"""What clients that stream send and read, beside what a model server knows."""

import json

import pytest

from nemo_gym_lite.dialects.sse import chat_stream, failed_response_stream, message_stream, responses_stream
from nemo_gym_lite.dialects.streamed import is_function, plain_chat, plain_responses

CALL = {"type": "function_call", "id": "c1", "call_id": "c1", "name": "shell__run", "arguments": "{}"}
USAGE = {"input_tokens": 3, "input_tokens_details": {"cached_tokens": None}, "output_tokens": 2, "total_tokens": 5}


def events(stream):
    """The events of a stream; the name before each must be its type."""
    parts = [part.split("\n") for part in stream.decode().removesuffix("\n\n").split("\n\n")]
    found = []
    for *names, data in parts:
        found.append(json.loads(data.removeprefix("data: ")))
        assert names == [f"event: {found[-1]['type']}"]
    return found


def chunks(stream):
    *parts, done = stream.decode().removesuffix("\n\n").split("\n\n")
    assert done == "data: [DONE]"
    return [json.loads(part.removeprefix("data: ")) for part in parts]


def test_a_response_begins_tells_each_item_and_ends():
    output = [{"type": "reasoning", "id": "rs_1", "summary": []}, CALL]
    response = {"id": "resp_1", "status": "completed", "output": output, "usage": None}
    created, *items, completed = events(responses_stream(response, {}))

    assert created["response"] == {"id": "resp_1", "status": "in_progress", "output": [], "usage": None}
    assert [(item["output_index"], item["item"]) for item in items] == list(enumerate(output))
    assert (completed["type"], completed["response"]) == ("response.completed", response)
    assert [event["sequence_number"] for event in (created, *items, completed)] == [0, 1, 2, 3]


def test_counts_that_nobody_told_are_zero_in_a_stream_and_stay_unknown_in_the_response():
    response = {"output": [], "usage": USAGE}
    completed = events(responses_stream(response, {}))[-1]

    assert completed["response"]["usage"]["input_tokens_details"] == {"cached_tokens": 0}
    assert completed["response"]["usage"]["output_tokens_details"] == {"reasoning_tokens": 0}
    assert response["usage"]["input_tokens_details"] == {"cached_tokens": None}


def test_a_failure_is_told_in_the_stream():
    created, failed = events(failed_response_stream("no endpoint"))

    assert (created["type"], failed["type"]) == ("response.created", "response.failed")
    assert created["response"]["id"] == failed["response"]["id"]
    assert failed["response"]["error"] == {"code": "server_error", "message": "no endpoint"}


def test_tools_of_a_namespace_travel_under_a_joined_name_and_come_back_apart():
    tools = [
        {"type": "namespace", "name": "shell", "tools": [{"name": "run", "parameters": {"type": "object"}}]},
        {"type": "function", "name": "look"},
    ]
    replayed = {**CALL, "namespace": "shell", "name": "run"}
    params, namespaces = plain_responses({"input": [replayed], "tools": tools, "stream": True}, is_function)

    assert params["tools"] == [{"type": "function", "name": "shell__run", "parameters": {"type": "object"}}, tools[1]]
    assert params["input"] == [CALL]
    item = events(responses_stream({"output": [CALL]}, namespaces))[1]["item"]
    assert (item["namespace"], item["name"]) == ("shell", "run")


def test_what_a_model_server_does_not_know_is_left_out_and_told_once(caplog):
    body = {
        "input": [{"type": "computer_dream", "id": "x"}, {"role": "user", "content": "hi"}, 7],
        "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}],
        "prompt_cache_key": "k",
        "client_metadata": {},
        "stream": True,
        "stream_options": {},
        "temperature": 0.5,
    }
    for _ in range(2):
        params, _ = plain_responses(body, is_function)

    assert params == {
        "input": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "name": "f"}],
        "temperature": 0.5,
    }
    assert len([record for record in caplog.records if "computer_dream" in record.message]) == 1


def test_leading_system_and_developer_messages_become_instructions():
    messages = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "be brief"}]},
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "later"},
    ]
    params, _ = plain_responses({"input": messages, "instructions": "be true"}, is_function)

    assert params == {"instructions": "be true\n\nbe brief\n\nbe kind", "input": messages[2:]}
    assert plain_responses({"input": "hi"}, is_function) == ({"input": "hi"}, {})


def test_a_chat_completion_streams_role_thought_text_calls_and_end():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "so", "reasoning": "hm", "tool_calls": [call], "prompt_token_ids": [1]}
    completion = {
        "id": "x",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"total_tokens": 3},
    }
    *parts, usage = chunks(chat_stream(completion, with_usage=True))

    assert [part["choices"][0]["delta"] for part in parts] == [
        {"role": "assistant"},
        {"reasoning_content": "hm"},
        {"content": "so"},
        {"tool_calls": [{"index": 0, **call}]},
        {},
    ]
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None] * 4 + ["tool_calls"]
    assert {(part["id"], part["object"]) for part in (*parts, usage)} == {("x", "chat.completion.chunk")}
    assert (usage["choices"], usage["usage"]) == ([], {"total_tokens": 3})
    assert len(chunks(chat_stream(completion, with_usage=False))) == 5


@pytest.mark.parametrize(
    ("options", "wanted"), [({"include_usage": True}, True), ({"include_usage": False}, False), (None, False)]
)
def test_a_chat_request_loses_what_only_streams_have(options, wanted):
    body = {"messages": [], "seed": 1, "stream": True, "stream_options": options, "unheard_of": 2}

    assert plain_chat(body) == ({"messages": [], "seed": 1}, wanted)


def test_a_message_streams_each_block_from_its_start_to_its_stop():
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
    ]
    message = {
        "id": "msg_1",
        "content": content,
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    start, *blocks, delta, stop = events(message_stream(message))

    assert start["message"] == {**message, "content": [], "stop_reason": None}
    assert [event["content_block"] for event in blocks if event["type"] == "content_block_start"] == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
    ]
    assert [event["delta"] for event in blocks if event["type"] == "content_block_delta"] == [
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "s"},
        {"type": "text_delta", "text": "so"},
        {"type": "input_json_delta", "partial_json": '{"a":1}'},
    ]
    assert [event["index"] for event in blocks] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert delta["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert (delta["usage"], stop) == ({"output_tokens": 2}, {"type": "message_stop"})
