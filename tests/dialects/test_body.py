"""What configuration and metadata add to a request before it leaves."""

import copy

import pytest

from nemo_gym_lite.dialects.body import prepare_chat, prepare_common
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.errors import FailedCallError

THOUGHTFUL = {"role": "assistant", "content": "<think>a</think>b<think>c</think>"}


def prepared(*messages, settings=None, **body):
    return prepare_chat({"messages": list(messages), **body}, settings or DialectSettings(model="tiny"))


def test_a_request_beats_metadata_and_metadata_beats_configuration():
    settings = DialectSettings(model="tiny", extra_body={"seed": 1, "top_k": 1, "min_p": 1})
    body = {"seed": 3, "metadata": {"extra_body": '{"seed": 2, "top_k": 2}'}}

    sent = prepare_common(body, settings)
    assert (sent["seed"], sent["top_k"], sent["min_p"]) == (3, 2, 1)


def test_sampling_overrides_beat_everything():
    settings = DialectSettings(model="tiny", sampling_overrides={"temperature": 1.0})

    assert prepare_common({"temperature": 0.0}, settings)["temperature"] == 1.0


def test_template_arguments_of_the_row_are_laid_over_the_configured_ones():
    settings = DialectSettings(model="tiny", chat_template_kwargs={"enable_thinking": True, "lang": "en"})
    body = {"metadata": {"chat_template_kwargs": '{"enable_thinking": false}'}}

    sent = prepare_common(body, settings)
    assert sent["chat_template_kwargs"] == {"enable_thinking": False, "lang": "en"}
    assert sent["metadata"] == body["metadata"]


def test_no_template_arguments_are_not_sent():
    assert prepare_common({}, DialectSettings(model="tiny")) == {"model": "tiny"}


@pytest.mark.parametrize("field", ["extra_body", "chat_template_kwargs"])
@pytest.mark.parametrize("text", ["{", "[1]", "7"])
def test_metadata_that_is_no_json_object_is_refused_by_name(field, text):
    with pytest.raises(FailedCallError, match=rf"metadata\.{field}") as refused:
        prepare_common({"metadata": {field: text}}, DialectSettings(model="tiny"))

    assert refused.value.terminal


def test_developer_becomes_system_where_the_template_wants_it():
    message = {"role": "developer", "content": "x"}
    settings = DialectSettings(model="tiny", replace_developer_role_with_system=True)

    assert prepared(message)["messages"] == [message]
    assert prepared(message, settings=settings)["messages"] == [{"role": "system", "content": "x"}]


def test_reasoning_of_earlier_turns_goes_back_in_a_field_of_its_own():
    (sent,) = prepared(THOUGHTFUL)["messages"]

    assert sent == {"role": "assistant", "content": "b", "reasoning_content": "a", "reasoning": "a"}


def test_without_interleaved_reasoning_earlier_thoughts_are_dropped():
    settings = DialectSettings(model="tiny", uses_interleaved_reasoning=False)

    assert prepared(THOUGHTFUL, settings=settings)["messages"] == [{"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    "settings",
    [
        DialectSettings(model="tiny", uses_reasoning_parser=False),
        DialectSettings(model="tiny", preserve_reasoning_in_assistant_content=True),
    ],
)
def test_reasoning_stays_in_the_text_where_the_model_is_configured_so(settings):
    assert prepared(THOUGHTFUL, settings=settings)["messages"] == [THOUGHTFUL]


def test_think_tags_of_a_user_are_the_users():
    message = {"role": "user", "content": "<think>a</think>"}

    assert prepared(message)["messages"] == [message]


def test_reasoning_is_found_in_a_list_of_parts():
    parts = [{"type": "text", "text": "<think>a</think>b"}, {"type": "text", "text": "c"}]
    (sent,) = prepared({"role": "assistant", "content": parts})["messages"]

    assert sent["reasoning"] == "a"
    assert sent["content"] == [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]


def test_two_blocks_of_reasoning_in_parts_are_refused():
    parts = [{"type": "text", "text": "<think>a</think>"}, {"type": "text", "text": "<think>b</think>"}]

    with pytest.raises(FailedCallError, match="more than one block"):
        prepared({"role": "assistant", "content": parts})


def test_token_ids_are_asked_for_in_every_way_that_engines_know():
    sent = prepared(settings=DialectSettings(model="tiny", return_token_id_information=True), top_logprobs=5)

    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 0)
    assert (sent["return_tokens_as_token_ids"], sent["return_token_ids"]) == (True, True)


def test_token_ids_of_several_answers_are_refused():
    with pytest.raises(FailedCallError, match="n=2"):
        prepared(settings=DialectSettings(model="tiny", return_token_id_information=True), n=2)


def test_a_null_top_logprobs_is_not_sent():
    assert "top_logprobs" not in prepared(top_logprobs=None)


def test_the_body_is_not_changed():
    body = {"messages": [copy.deepcopy(THOUGHTFUL)], "metadata": {"extra_body": '{"a": 1}'}}
    before = copy.deepcopy(body)
    prepare_chat(body, DialectSettings(model="tiny", extra_body={"b": 1}))

    assert body == before
