"""Clients of the `openai` package can read what we serve, and we can read what it builds."""

from typing import Any

import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from nemo_gym_lite.dialects.outcomes import empty_chat
from nemo_gym_lite.dialects.reply import empty_response, to_response
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.openai_utils import NeMoGymChatCompletion, NeMoGymResponse

PLAIN = DialectSettings(model="tiny")
TRAINED = DialectSettings(model="tiny", return_token_id_information=True)
TOOL = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}
PARAMS: dict[str, Any] = {"input": "hi", "tools": [TOOL], "tool_choice": "required", "temperature": 0.5}


@pytest.fixture
def responses(recorded):
    return [
        to_response(recorded("chat_plain"), PARAMS, PLAIN),
        to_response(recorded("chat_reasoning_tools"), PARAMS, PLAIN),
        to_response(recorded("chat_tools_required_ids"), PARAMS, TRAINED),
        empty_response(PARAMS, PLAIN, "max_output_tokens", 1.0),
    ]


def test_a_served_response_is_a_valid_response_of_the_openai_package(responses):
    for response in responses:
        # the package wants all token details counted; ours are null where the engine does not tell
        read = Response.model_validate(response | {"usage": None})

        assert [item.type for item in read.output] == [item["type"] for item in response["output"]]
        assert read.output_text == NeMoGymResponse.model_validate(response).output_text


def test_the_openai_client_reads_the_usage_of_a_served_response(responses):
    read = construct_type(value=responses[0], type_=Response)

    assert isinstance(read, Response)
    assert (read.usage.input_tokens, read.usage.input_tokens_details.cached_tokens) == (30, 0)
    assert read.usage.output_tokens_details.reasoning_tokens is None


@pytest.mark.parametrize("name", ["chat_plain", "chat_reasoning_tools", "chat_return_token_ids"])
def test_a_served_completion_is_a_valid_completion_of_the_openai_package(recorded, name):
    served = NeMoGymChatCompletion.model_validate(recorded(name)).model_dump()
    served["choices"][0]["message"].pop("function_call")

    assert ChatCompletion.model_validate(served).choices[0].finish_reason == served["choices"][0]["finish_reason"]


def test_an_empty_completion_is_a_valid_completion_of_the_openai_package():
    assert ChatCompletion.model_validate(empty_chat("tiny", "length", 1)).choices[0].message.content is None


@pytest.mark.parametrize("name", ["responses_plain", "responses_tools"])
def test_a_response_as_vllm_serves_it_and_as_the_client_dumps_it_is_read(recorded, name):
    body = recorded(name)
    dumped = construct_type(value=body, type_=Response).model_dump(mode="json", warnings=False)

    assert NeMoGymResponse.model_validate(dumped).output == NeMoGymResponse.model_validate(body).output
