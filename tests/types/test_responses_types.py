"""What authors may rely on when they build and read Responses objects."""

import pytest
from pydantic import BaseModel, ValidationError

from nemo_gym_lite.openai_utils import (
    HOSTED_ITEM_TYPES,
    RESPONSES_TO_TRAIN,
    NeMoGymEasyInputMessage,
    NeMoGymFunctionCallOutput,
    NeMoGymMessage,
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
    NeMoGymResponseFunctionToolCall,
    NeMoGymResponseFunctionToolCallForTraining,
    NeMoGymResponseOutputMessage,
    NeMoGymResponseOutputMessageForTraining,
    NeMoGymResponseOutputText,
    NeMoGymResponseReasoningItem,
    NeMoGymSummary,
    training_variant_of,
)

TOKENS = {"prompt_token_ids": [1, 2], "generation_token_ids": [3], "generation_log_probs": [-0.5]}
TEXT = {"type": "output_text", "text": "hi", "annotations": []}
ITEMS = [
    ({"role": "user", "content": "hi"}, NeMoGymEasyInputMessage),
    ({"role": "user", "content": [{"type": "input_text", "text": "hi"}]}, NeMoGymEasyInputMessage),
    ({"role": "assistant", "content": [TEXT]}, NeMoGymEasyInputMessage),
    (
        {
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_text", "text": "x"}],
        },
        NeMoGymMessage,
    ),
    ({"type": "message", "id": "m", "role": "assistant", "content": [TEXT]}, NeMoGymResponseOutputMessage),
    (
        {"type": "message", "id": "m", "content": [TEXT], **TOKENS},
        NeMoGymResponseOutputMessageForTraining,
    ),
    (
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
        NeMoGymResponseFunctionToolCall,
    ),
    (
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c", **TOKENS},
        NeMoGymResponseFunctionToolCallForTraining,
    ),
    ({"type": "function_call_output", "call_id": "c", "output": "sunny"}, NeMoGymFunctionCallOutput),
    (
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "t"}]},
        NeMoGymResponseReasoningItem,
    ),
]


def params(**fields):
    return NeMoGymResponseCreateParamsNonStreaming.model_validate({"input": "hi"} | fields)


def response(*output, **fields):
    body = {"id": "resp_1", "created_at": 1, "model": "tiny", "output": list(output)}
    return NeMoGymResponse.model_validate(body | fields)


@pytest.mark.parametrize(("item", "expected"), ITEMS)
def test_an_item_becomes_the_class_that_its_fields_say(item, expected):
    (parsed,) = params(input=[item]).input

    assert type(parsed) is expected


@pytest.mark.parametrize(("item", "_expected"), ITEMS)
def test_an_item_keeps_all_that_it_said(item, _expected):
    (dumped,) = params(input=[item]).model_dump(exclude_unset=True)["input"]

    assert dumped == item


@pytest.mark.parametrize("kind", HOSTED_ITEM_TYPES)
def test_items_of_hosted_tools_pass_with_all_their_fields(kind):
    item = {"type": kind, "id": "h1", "whatever": [1, {"deep": True}]}

    assert response(item).model_dump(exclude_unset=True)["output"] == [item]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
    ],
)
def test_messages_in_the_shape_of_chat_pass_unchanged(message):
    assert params(input=[message]).model_dump(exclude_unset=True)["input"] == [message]


def test_unset_fields_are_dumped_as_null_with_the_api_defaults():
    dumped = params().model_dump()

    set_fields = {name: value for name, value in dumped.items() if value is not None}
    assert set_fields == {"input": "hi", "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    assert {"temperature", "metadata", "max_output_tokens", "instructions"} <= dumped.keys()


@pytest.mark.parametrize("field", ["seed", "stop", "n", "max_tokens", "temprature"])
def test_unknown_create_params_are_refused_by_name(field):
    with pytest.raises(ValidationError, match=field):
        params(**{field: 1})


def test_streaming_is_refused():
    with pytest.raises(ValidationError, match="stream"):
        params(stream=True)


@pytest.mark.parametrize("missing", sorted(TOKENS))
def test_token_ids_come_complete_or_not_at_all(missing):
    tokens = {name: value for name, value in TOKENS.items() if name != missing}
    item = {"type": "message", "id": "m", "content": [TEXT], **tokens}

    with pytest.raises(ValidationError, match=missing):
        response(item)


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({"type": "telepathy"}, "unknown Responses item type"),
        ({"type": ["message"]}, "unknown Responses item type"),
        (7, "unknown Responses item type"),
        ({"role": "wizard", "content": "x"}, "Input should be 'user'"),
        ({"role": "user", "content": [{"type": "input_smell"}]}, "input_smell"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "needs a string `text`"),
        ({"role": "user", "content": [{"type": "input_video"}]}, "exactly one of"),
        ({"role": "user", "content": [{"type": "input_video", "video": "a", "video_url": "b"}]}, "exactly"),
    ],
)
def test_a_wrong_item_is_refused_with_one_complaint_that_says_why(item, complaint):
    with pytest.raises(ValidationError, match=complaint) as refused:
        params(input=[item])

    assert refused.value.error_count() == 1
    assert refused.value.errors()[0]["loc"][:3] == ("input", "list", 0)


def test_an_output_may_hold_what_an_environment_said_between_the_turns():
    said = response({"role": "user", "content": "your move"}).output[0]

    assert isinstance(said, NeMoGymEasyInputMessage)
    with pytest.raises(ValidationError, match="unknown Responses item type"):
        response({"type": "output_guess"})


def test_items_may_be_given_as_objects_even_of_an_authors_subclass():
    class Mine(NeMoGymResponseOutputMessage):
        note: str = "kept"

    mine = Mine(id="m", content=[NeMoGymResponseOutputText(annotations=[], text="hi")])
    said = response(mine, NeMoGymResponseFunctionToolCall(arguments="{}", call_id="c", name="f"))

    assert said.output[0] is mine
    assert params(input=said.output).input[0] is mine


def test_tools_of_a_response_may_be_given_as_objects_of_another_package():
    class Tool(BaseModel):
        name: str
        strict: bool | None = None

    response = NeMoGymResponse(id="r", created_at=0, model="m", output=[], tools=[Tool(name="f"), {"name": "g"}])

    assert response.tools == [{"name": "f", "strict": None}, {"name": "g"}]


def test_a_dumped_response_validates_to_the_same_response():
    said = response(*(item for item, _ in ITEMS if "type" in item), metrics={"ttft_ms": 3})

    assert NeMoGymResponse.model_validate(said.model_dump()) == said
    assert said.model_extra == {"metrics": {"ttft_ms": 3}}


def test_a_reasoning_item_has_no_status_because_openai_does_not_take_it_back():
    item = NeMoGymResponseReasoningItem.model_validate({"id": "r", "summary": [], "status": "completed"})

    assert "status" not in item.model_dump()


def test_output_text_joins_what_the_messages_say():
    call = NeMoGymResponseFunctionToolCall(arguments="{}", call_id="c", name="f")
    refusal = {"type": "message", "id": "m", "content": [{"type": "refusal", "refusal": "no"}]}
    message = {"type": "message", "id": "m", "content": [TEXT, TEXT]}

    assert response(refusal, call, message).output_text == "hihi"


def test_every_item_that_a_model_samples_has_a_twin_with_token_ids():
    for plain, twin in RESPONSES_TO_TRAIN.items():
        assert training_variant_of(plain) is twin
        assert issubclass(twin, plain)


def test_an_item_that_no_model_samples_has_no_twin():
    with pytest.raises(NotImplementedError, match="NeMoGymSummary"):
        training_variant_of(NeMoGymSummary)


def test_authors_models_with_a_response_in_them_report_where_the_fault_is():
    class Verify(BaseModel):
        response: NeMoGymResponse

    with pytest.raises(ValidationError) as refused:
        Verify.model_validate({"response": {"id": "r", "created_at": 1, "output": []}})

    assert refused.value.errors()[0]["loc"] == ("response", "model")
