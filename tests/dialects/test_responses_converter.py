"""The dialects under NeMo Gym's class: typed in, typed out, with Python's own errors."""

import pytest

from nemo_gym_lite import responses_converter
from nemo_gym_lite.openai_utils import (
    NeMoGymChatCompletion,
    NeMoGymChatCompletionCreateParamsNonStreaming,
    NeMoGymEasyInputMessage,
    NeMoGymFunctionCallOutput,
    NeMoGymResponseCreateParamsNonStreaming,
    NeMoGymResponseFunctionToolCall,
    NeMoGymResponseOutputMessageForTraining,
    NeMoGymResponseReasoningItem,
    NeMoGymSummary,
    TokenIDLogProbMixin,
)
from nemo_gym_lite.responses_converter import (
    ResponsesConverter,
    ResponsesConverterState,
    VLLMConverter,
    split_responses_input_output_items,
)

TOKENS = {"prompt_token_ids": [1, 2], "generation_token_ids": [3], "generation_log_probs": [-0.5]}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "description": "does"}


@pytest.fixture
def converter(monkeypatch):
    class Fixed:
        hex = "123"

    monkeypatch.setattr(responses_converter, "uuid4", Fixed)
    return ResponsesConverter(return_token_id_information=False)


def asked(**params):
    return NeMoGymResponseCreateParamsNonStreaming(**params)


def completion(recorded):
    return NeMoGymChatCompletion.model_validate(recorded("chat_reasoning_tools"))


def test_what_is_asked_becomes_messages_and_what_is_unset_stays_unset(converter):
    items = [
        NeMoGymEasyInputMessage(role="user", content="hi"),
        NeMoGymResponseReasoningItem(id="r", summary=[NeMoGymSummary(text="hm")]),
        NeMoGymResponseFunctionToolCall(arguments="{}", call_id="c", name="f"),
        NeMoGymFunctionCallOutput(call_id="c", output="42"),
    ]

    chat = converter.responses_to_chat_completion_create_params(
        asked(input=items, model="m", max_output_tokens=5, tools=[TOOL], tool_choice="required", instructions="be")
    )

    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert chat.messages == [
        {"role": "system", "content": "be"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "<think>hm</think>", "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_call_id": "c"},
    ]
    assert chat.model_dump(exclude_unset=True).keys() == {"messages", "model", "max_tokens", "tools", "tool_choice"}
    assert chat.tools[0]["function"].keys() == {"name", "parameters", "description"}


def test_a_text_becomes_one_part_and_choices_of_no_tools_vanish(converter):
    chat = converter.responses_to_chat_completion_create_params(asked(input="hi", tool_choice="auto", tools=[]))

    assert chat.model_dump(exclude_unset=True) == {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    }


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"input": "hi", "tool_choice": "required"}, ValueError),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": ""}]}]}, ValueError),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, NotImplementedError),
        ({"input": [{"type": "web_search_call", "id": "w", "status": "completed"}]}, NotImplementedError),
    ],
)
def test_what_has_no_counterpart_is_told_by_the_kind_of_error(converter, params, error):
    with pytest.raises(error):
        converter.responses_to_chat_completion_create_params(asked(**params))


def test_an_answer_becomes_items_with_ids_that_tests_can_fix(converter):
    message = {
        "role": "assistant",
        "content": "a<think>one</think>b<think>two</think>",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }

    reasoning, text, call = converter.postprocess_assistant_message_dict(message)

    assert (reasoning.id, [part.text for part in reasoning.summary]) == ("rs_123", ["one", "two"])
    assert (text.id, text.content[0].text) == ("msg_123", "ab")
    assert (call.id, call.call_id, call.status) == ("c", "c", "completed")


def test_without_a_reasoning_parser_thoughts_stay_in_the_text():
    converter = ResponsesConverter(return_token_id_information=False, uses_reasoning_parser=False)

    [item] = converter.postprocess_assistant_message_dict({"role": "assistant", "content": "<think>a</think>b"})

    assert item.content[0].text == "<think>a</think>b"


def test_token_ids_go_with_the_last_item_and_come_back_with_the_message():
    converter = ResponsesConverter(return_token_id_information=True)

    [item] = converter.postprocess_assistant_message_dict({"role": "assistant", "content": "b", **TOKENS})
    chat = converter.responses_to_chat_completion_create_params(asked(input=[item]))

    assert isinstance(item, NeMoGymResponseOutputMessageForTraining)
    assert chat.messages == [{"role": "assistant", "content": "b", **TOKENS}]


def test_a_completion_becomes_a_response_that_repeats_what_was_asked(converter, recorded):
    params = asked(input="add", model="m", temperature=0.3, tools=[TOOL], metadata={"a": "b"})

    response = converter.chat_completion_to_response(
        responses_create_params=params, chat_completion=completion(recorded)
    )

    assert (response.id, response.model, response.temperature) == ("resp_123", "m", 0.3)
    assert (response.status, response.metadata, response.tools) == ("completed", {"a": "b"}, [TOOL])
    assert "function_call" in {item.type for item in response.output}
    assert response.output[0].id in {"rs_123", "msg_123"}
    assert response.usage.total_tokens == completion(recorded).usage.total_tokens


def test_a_completion_that_was_cut_is_an_incomplete_response(converter, recorded):
    cut = completion(recorded)
    cut.choices[0].finish_reason = "length"

    response = converter.chat_completion_to_response(asked(input="add", model="m"), cut)

    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_chat_request_becomes_responses_params(converter):
    chat = NeMoGymChatCompletionCreateParamsNonStreaming(
        messages=[
            {"role": "system", "content": "be"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a"}}]},
            {"role": "assistant", "content": "<think>hm</think>ok"},
            {"role": "tool", "content": "42", "tool_call_id": "c"},
        ],
        max_completion_tokens=7,
        reasoning_effort="low",
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        seed=3,
    )

    params = converter.chat_completion_to_responses_create_params(chat)

    assert [item.type for item in params.input] == [
        *("message", "message", "reasoning", "message", "function_call_output")
    ]
    assert params.input[1].content == [{"type": "input_image", "image_url": "http://a", "detail": "auto"}]
    assert (params.max_output_tokens, params.reasoning) == (7, {"effort": "low"})
    assert params.tools == [{"type": "function", "name": "f", "parameters": None, "strict": None}]
    assert params.tool_choice == {"type": "function", "name": "f"}


def test_reasoning_is_wrapped_and_found_again(converter):
    wrapped = converter._wrap_reasoning_in_think_tags(["a", "", "b"])

    assert wrapped == "<think>a</think><think>b</think>"
    assert converter._extract_reasoning_from_content(f"x{wrapped}y") == (["a", "b"], "xy")


def test_a_conversation_is_cut_where_the_model_first_speaks():
    prompt = [NeMoGymEasyInputMessage(role="user", content="hi"), NeMoGymFunctionCallOutput(call_id="c", output="1")]
    call = NeMoGymResponseFunctionToolCall(arguments="{}", call_id="d", name="f")

    assert split_responses_input_output_items([*prompt, call, prompt[1]]) == (prompt, [call, prompt[1]])
    assert split_responses_input_output_items(prompt) == (prompt, [])
    assert split_responses_input_output_items([]) == ([], [])


def test_the_older_name_is_the_same_class():
    assert VLLMConverter is ResponsesConverter


def test_a_subclass_may_build_messages_by_itself():
    state = ResponsesConverterState(return_token_id_information=True)
    state.flush_assistant()
    state.content_buffer, state.token_information = "ok", TokenIDLogProbMixin(**TOKENS)
    state.flush_assistant()

    assert state.messages == [{"role": "assistant", "content": "ok", **TOKENS}]
    assert (state.content_buffer, state.tool_calls_buffer) == ("", [])
