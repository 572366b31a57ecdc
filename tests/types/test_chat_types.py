"""What authors may rely on when they read Chat completions."""

import pytest
from pydantic import ValidationError

from nemo_gym_lite.openai_utils import (
    NeMoGymChatCompletion,
    NeMoGymChatCompletionCreateParamsNonStreaming,
    NeMoGymChatCompletionMessageForTraining,
)


@pytest.mark.parametrize("name", ["chat_plain", "chat_reasoning_tools", "chat_logprobs", "chat_return_token_ids"])
def test_a_real_completion_keeps_every_field(recorded, name):
    body = recorded(name)

    assert NeMoGymChatCompletion.model_validate(body).model_dump(exclude_unset=True) == body


def test_tool_calls_are_read_as_objects(recorded):
    completion = NeMoGymChatCompletion.model_validate(recorded("chat_reasoning_tools"))

    assert {call.function.name for call in completion.choices[0].message.tool_calls} == {"add"}


def test_a_message_with_token_ids_becomes_the_training_twin(recorded):
    body = recorded("chat_plain")
    tokens = {"prompt_token_ids": [1], "generation_token_ids": [2], "generation_log_probs": [-1.0]}
    body["choices"][0]["message"] |= tokens
    completion = NeMoGymChatCompletion.model_validate(body)
    message = completion.choices[0].message

    assert isinstance(message, NeMoGymChatCompletionMessageForTraining)
    assert message.generation_token_ids == [2]
    assert completion.model_dump()["choices"][0]["message"].items() >= tokens.items()


def test_unknown_chat_params_are_ignored():
    body = {"messages": [{"role": "user", "content": "hi"}], "guided_json": {}}

    assert "guided_json" not in NeMoGymChatCompletionCreateParamsNonStreaming.model_validate(body).model_dump()


def test_an_unknown_role_is_refused():
    with pytest.raises(ValidationError, match="wizard"):
        NeMoGymChatCompletionCreateParamsNonStreaming.model_validate({"messages": [{"role": "wizard"}]})
