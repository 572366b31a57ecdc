"""Training reads token ids from responses, so they are right or there is no response."""

import copy

import pytest

from nemo_gym_lite.dialects.reply import to_response
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.openai_utils import NeMoGymResponse

TRAINED = DialectSettings(model="tiny", return_token_id_information=True)
PARAMS = {"input": "hi"}


@pytest.fixture
def body(recorded):
    return recorded("chat_return_token_ids")


def last_item(body):
    return to_response(body, PARAMS, TRAINED)["output"][-1]


def complaint(body):
    with pytest.raises(FailedCallError) as failed:
        last_item(body)
    assert failed.value.failure_class == "bad_reply"
    return str(failed.value)


def test_recorded_token_ids_and_logprobs_are_on_the_last_item(body):
    item, choice = last_item(body), body["choices"][0]

    assert item["prompt_token_ids"] == body["prompt_token_ids"]
    assert item["generation_token_ids"] == choice["token_ids"]
    assert item["generation_log_probs"] == [entry["logprob"] for entry in choice["logprobs"]["content"]]


def test_of_several_items_only_the_last_carries_them(recorded):
    body = recorded("chat_tools_required_ids")
    body["choices"][0]["message"] |= {"content": "text"}
    items = to_response(body, PARAMS, TRAINED)["output"]

    assert ["prompt_token_ids" in item for item in items] == [False] * (len(items) - 1) + [True]


def test_a_response_with_token_ids_equals_its_validated_type(body):
    response = to_response(body, PARAMS, TRAINED)

    assert NeMoGymResponse.model_validate(response).model_dump() == response


def test_ids_that_contradict_the_logprobs_are_refused(body):
    body["choices"][0]["token_ids"][2] += 1

    assert "token_ids are not those of its logprobs" in complaint(body)


def test_a_missing_prompt_says_which_engine_is_needed(body):
    body["prompt_token_ids"] = None

    assert "prompt_token_ids" in complaint(body)
    assert "vLLM 0.10.2" in complaint(body)


def test_missing_logprobs_are_refused(body):
    body["choices"][0]["logprobs"] = None

    assert "generation_log_probs" in complaint(body)


def test_ids_and_logprobs_must_be_as_many(body):
    for entry in body["choices"][0]["logprobs"]["content"]:
        entry["token"] = "text"
    body["choices"][0]["token_ids"].append(7)

    assert "7 generated token ids and 6 log probabilities" in complaint(body)


def test_ids_named_by_the_logprobs_are_enough(body):
    expected = body["choices"][0].pop("token_ids")

    assert last_item(body)["generation_token_ids"] == expected


def bundle_of(body):
    entries = body["choices"][0]["logprobs"]["content"]
    return {
        "prompt_token_ids": body["prompt_token_ids"],
        "generation_token_ids": body["choices"][0]["token_ids"],
        "generation_log_probs": [entry["logprob"] for entry in entries],
    }


def test_a_bundle_on_the_message_counts_where_it_agrees_with_the_rest(body):
    body["choices"][0]["message"] |= copy.deepcopy(bundle_of(body)) | {"routed_experts": "opaque"}

    assert last_item(body)["routed_experts"] == "opaque"


def test_a_bundle_on_the_message_that_disagrees_is_refused(body):
    body["choices"][0]["message"] |= bundle_of(body) | {"prompt_token_ids": [1]}

    assert "disagree on prompt_token_ids" in complaint(body)


def test_an_incomplete_bundle_on_the_message_is_refused():
    message = {"role": "assistant", "content": "x", "prompt_token_ids": [1], "generation_token_ids": [2]}
    reply = {"choices": [{"message": message, "finish_reason": "stop"}]}

    assert "generation_log_probs" in complaint(reply)


def test_an_answer_without_tokens_has_empty_lists(body):
    body["choices"][0] |= {"token_ids": [], "logprobs": None}

    assert (last_item(body)["generation_token_ids"], last_item(body)["generation_log_probs"]) == ([], [])
