"""What is neither an answer nor a failure."""

import json

import pytest

from nemo_gym_lite.dialects.outcomes import empty_chat, ends_without_call, is_context_overflow
from nemo_gym_lite.dialects.reply import to_response
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.openai_utils import NeMoGymChatCompletion


@pytest.mark.parametrize(
    ("name", "overflow"),
    [("err_context_len_prompt", True), ("err_context_len_max_tokens", True), ("err_bad_regex", False)],
)
def test_a_recorded_refusal_is_recognised(recorded, name, overflow):
    assert is_context_overflow(400, json.dumps(recorded(name)).encode()) is overflow


def test_only_a_400_says_that_a_prompt_is_too_long():
    assert not is_context_overflow(500, b"context length")
    assert not is_context_overflow(None, b"max_tokens")


@pytest.mark.parametrize(
    ("last", "ends"),
    [
        ({"role": "assistant", "content": "", "reasoning": "hm"}, True),
        ({"role": "assistant", "content": None}, True),
        ({"role": "assistant", "content": "ok"}, False),
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, False),
        ({"role": "user", "content": ""}, False),
    ],
)
def test_a_model_that_may_not_reason_twice_is_not_called_after_a_thought(last, ends):
    once = DialectSettings(model="tiny", sequential_reasoning_allowed=False)

    assert ends_without_call({"messages": [last]}, once) is ends
    assert not ends_without_call({"messages": [last]}, DialectSettings(model="tiny"))


def test_an_empty_completion_is_a_valid_one_and_becomes_an_empty_response():
    completion = empty_chat("tiny", "content_filter", 12.5)
    response = to_response(completion, {"input": "hi"}, DialectSettings(model="tiny"))

    assert NeMoGymChatCompletion.model_validate(completion).choices[0].message.content is None
    assert response["output"][0]["content"][0]["text"] == ""
    assert response["incomplete_details"] == {"reason": "content_filter"}
