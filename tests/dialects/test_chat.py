"""How a Responses conversation is told to an engine that speaks Chat Completions."""

import copy

import pytest

from nemo_gym_lite.dialects.chat import to_chat, to_messages
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.errors import FailedCallError

PLAIN = DialectSettings(model="tiny")
AS_TAGS = DialectSettings(model="tiny", preserve_reasoning_in_assistant_content=True)
WITH_TOKENS = DialectSettings(model="tiny", return_token_id_information=True)

USER = {"role": "user", "content": "hi"}
THOUGHT = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]}
SAID = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
TOKENS = {"prompt_token_ids": [1, 2], "generation_token_ids": [3], "generation_log_probs": [-0.5]}
TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}


def messages(*items, settings=AS_TAGS):
    return to_chat({"input": list(items)}, settings)["messages"]


def refusal(params, settings=PLAIN):
    with pytest.raises(FailedCallError) as refused:
        to_chat(params, settings)
    assert (refused.value.failure_class, refused.value.terminal) == ("bad_request", True)
    return refused.value.message


def test_text_input_is_one_user_message():
    expected = {"role": "user", "content": [{"type": "text", "text": "hi"}]}

    assert to_chat({"input": "hi"}, PLAIN)["messages"] == [expected]


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_a_message_keeps_its_role_and_its_text(role):
    assert messages({"role": role, "content": "hi"}) == [{"role": role, "content": "hi"}]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "input_text", "text": "x"}, {"type": "text", "text": "x"}),
        (
            {"type": "input_image", "image_url": "u"},
            {"type": "image_url", "image_url": {"url": "u", "detail": "auto"}},
        ),
        (
            {"type": "input_image", "image_url": {"url": "u"}, "detail": "low"},
            {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
        ),
        ({"type": "input_video", "video_url": "u"}, {"type": "video_url", "video_url": {"url": "u"}}),
        ({"type": "input_video", "video": {"url": "u"}}, {"type": "video_url", "video_url": {"url": "u"}}),
    ],
)
def test_content_parts_find_their_counterpart(part, expected):
    assert messages({"role": "user", "content": [part]}) == [{"role": "user", "content": [expected]}]


def test_reasoning_text_and_calls_of_one_turn_become_one_message():
    expected = {"role": "assistant", "content": "<think>hm</think>ok", "tool_calls": [CHAT_CALL]}

    assert messages(USER, THOUGHT, SAID, CALL)[1:] == [expected]


def test_an_assistant_that_only_calls_has_no_text():
    assert messages(USER, CALL)[1] == {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]}


def test_an_assistant_that_only_talks_has_no_calls():
    assert messages(USER, SAID)[1] == {"role": "assistant", "content": "ok"}


def test_a_tools_output_ends_the_assistants_message():
    roles = [message["role"] for message in messages(USER, CALL, OUTPUT, SAID, USER, SAID)]

    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant"]


def test_a_tools_output_answers_its_call():
    assert messages(CALL, OUTPUT)[1] == {"role": "tool", "tool_call_id": "c1", "content": "sunny"}


def test_a_tools_output_may_be_a_list_of_texts():
    output = OUTPUT | {"output": [{"type": "input_text", "text": "sunny"}]}

    assert messages(output)[0]["content"] == [{"type": "text", "text": "sunny"}]


def test_messages_in_the_shape_of_chat_are_replayed():
    said = {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]}
    tool = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}

    assert messages(USER, said, tool) == [USER, said, tool]


def test_instructions_lead_as_one_system_message():
    params = {"input": [{"role": "system", "content": "b"}, {"role": "developer", "content": "c"}, USER]}

    asked = to_chat(params | {"instructions": "a"}, PLAIN)["messages"]
    assert asked == [{"role": "system", "content": "a\n\nb\n\nc"}, USER]


def test_instructions_lead_even_when_nothing_else_is_said():
    asked = to_chat({"input": [{"role": "system", "content": "b"}], "instructions": "a"}, PLAIN)["messages"]

    assert asked == [{"role": "system", "content": "a\n\nb"}]


def test_without_instructions_system_messages_stay_apart():
    items = [{"role": "system", "content": "b"}, {"role": "developer", "content": "c"}]

    assert messages(*items) == items


def test_sampling_parameters_pass_by_their_chat_name():
    params = {
        "input": "hi",
        "max_output_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "reasoning": {"effort": "low"},
        "user": "u",
        "metadata": {"k": "v"},
    }
    body = to_chat(params, PLAIN)

    del body["messages"]
    assert body == {
        "model": "tiny",
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "reasoning_effort": "low",
        "user": "u",
        "metadata": {"k": "v"},
    }


def test_nulls_defaults_and_what_chat_does_not_know_are_left_out():
    params = {
        "input": "hi",
        "temperature": None,
        "max_output_tokens": None,
        "reasoning": None,
        "truncation": "auto",
        "include": ["x"],
        "text": {"format": {"type": "text"}},
        "background": False,
        "store": None,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "model": "somebody-elses",
        "stream": False,
    }

    assert to_chat(params, PLAIN).keys() == {"model", "messages"}


def test_the_callers_model_is_ignored():
    assert to_chat({"input": "hi", "model": "other"}, PLAIN)["model"] == "tiny"


def test_asking_for_top_logprobs_asks_for_logprobs():
    body = to_chat({"input": "hi", "top_logprobs": 2}, PLAIN)

    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)


def test_tools_move_into_functions_without_strict():
    body = to_chat({"input": "hi", "tools": [TOOL], "tool_choice": "required"}, PLAIN)

    function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == "required"


def test_a_named_tool_choice_takes_its_chat_form():
    choice = {"type": "function", "name": "f"}
    body = to_chat({"input": "hi", "tools": [TOOL], "tool_choice": choice}, PLAIN)

    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "f"}])
def test_a_tool_choice_without_tools_is_refused(choice):
    assert "without tools" in refusal({"input": "hi", "tool_choice": choice})


@pytest.mark.parametrize("kind", ["mcp_call", "web_search_call", "telepathy"])
def test_an_item_without_counterpart_is_refused_by_its_type(kind):
    assert repr(kind) in refusal({"input": [{"type": kind, "id": "x"}]})


@pytest.mark.parametrize(
    ("item", "named"),
    [
        ({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}, "'input_file'"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": ""}]}, "image_url"),
        ({"role": "wizard", "content": "x"}, "'wizard'"),
        (OUTPUT | {"output": [{"type": "input_image", "image_url": "u"}]}, "input_image"),
        ({"type": "function_call", "call_id": "c", "name": "f"}, "'function_call'"),
        ({"role": "user"}, "'content'"),
        (["not", "an", "item"], "'list'"),
        ({}, "None"),
    ],
)
def test_a_malformed_item_is_refused_by_name(item, named):
    assert named in refusal({"input": [item]})


def test_a_tool_that_is_no_function_is_refused():
    assert "'web_search'" in refusal({"input": "hi", "tools": [{"type": "web_search"}]})


def test_token_ids_ride_on_the_turn_that_they_belong_to():
    told = to_messages([USER, THOUGHT, CALL | TOKENS, OUTPUT, SAID], WITH_TOKENS)

    assert TOKENS.items() <= told[1].items()
    assert not TOKENS.keys() & told[3].keys()


def test_token_ids_stay_here_unless_the_model_is_trained():
    assert not TOKENS.keys() & messages(USER, SAID | TOKENS)[1].keys()


def test_the_params_are_not_changed():
    params = {"input": [USER, THOUGHT, SAID, CALL, OUTPUT], "tools": [TOOL], "instructions": "a", "metadata": {}}
    before = copy.deepcopy(params)
    to_chat(params, PLAIN)

    assert params == before
