"""No conversation loses a word on its way through Chat Completions and back."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nemo_gym_lite.dialects.chat import to_chat, to_messages
from nemo_gym_lite.dialects.reply import output_items, to_response
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.openai_utils import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming

SETTINGS = DialectSettings(model="tiny", preserve_reasoning_in_assistant_content=True)

# a text with think tags of its own is reasoning by definition, so it cannot come back as text
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>"), min_size=1, max_size=30)
call_ids = st.uuids().map(lambda uuid: f"call_{uuid.hex}")


def message(text):
    part = {"annotations": [], "text": text, "type": "output_text", "logprobs": None}
    return {"id": "msg", "content": [part], "role": "assistant", "status": "completed", "type": "message"}


def thought(blocks):
    summary = [{"text": block, "type": "summary_text"} for block in blocks]
    return {"id": "rs", "summary": summary, "type": "reasoning", "encrypted_content": None}


def call(call_id, name, arguments):
    ids = {"call_id": call_id, "id": call_id}
    return {"arguments": arguments, "name": name, "type": "function_call", "status": "completed"} | ids


def output(call_id, text):
    return {"type": "function_call_output", "call_id": call_id, "output": text}


@st.composite
def turns(draw):
    """What a model says in one turn, then what its tools answer."""
    said = [thought(blocks)] if (blocks := draw(st.lists(words, max_size=3))) else []
    said += [message(draw(words))] if draw(st.booleans()) else []
    calls = draw(st.lists(st.builds(call, call_ids, words, words), min_size=0 if said else 1, max_size=3))
    return said + calls + [output(made["call_id"], draw(words)) for made in calls]


@st.composite
def conversations(draw):
    items = draw(st.lists(st.builds(lambda role, text: {"role": role, "content": text}, st.just("system"), words)))
    for _ in range(draw(st.integers(1, 3))):
        items.append({"role": "user", "content": draw(words)})
        for turn in draw(st.lists(turns(), max_size=3)):
            # a turn without calls would run into the next one, because nobody speaks in between
            items += (
                turn if turn[-1]["type"] == "function_call_output" else [*turn, {"role": "user", "content": "go on"}]
            )
    return items


def to_items(messages):
    for told in messages:
        if told["role"] == "assistant":
            yield from output_items(told, SETTINGS)
        elif told["role"] == "tool":
            yield output(told["tool_call_id"], told["content"])
        else:
            yield told


def without_ids(items):
    return [{k: v for k, v in item.items() if k != "id" or item["type"] == "function_call"} for item in items]


@given(conversations())
def test_a_conversation_comes_back_with_all_texts_calls_and_outputs_in_order(items):
    assert without_ids(to_items(to_messages(items, SETTINGS))) == without_ids(items)


@given(conversations())
def test_an_engine_is_never_told_the_same_speaker_twice_after_a_tool(items):
    roles = [told["role"] for told in to_messages(items, SETTINGS)]

    assert ("assistant", "assistant") not in itertools.pairwise(roles)


@given(turns())
def test_what_a_model_says_is_said_back_to_it_as_it_said_it(turn):
    said = [item for item in turn if item["type"] != "function_call_output"]
    (told,) = to_messages(said, SETTINGS)
    completion = {"choices": [{"message": told, "finish_reason": "stop"}], "created": 1}
    response = to_response(completion, {"input": "hi"}, SETTINGS)

    assert without_ids(response["output"]) == without_ids(said)
    assert to_messages(response["output"], SETTINGS) == [told]
    assert NeMoGymResponse.model_validate(response).model_dump() == response


@given(conversations())
def test_validating_a_conversation_does_not_change_what_the_engine_is_told(items):
    params = NeMoGymResponseCreateParamsNonStreaming.model_validate({"input": items})

    assert to_chat(params.model_dump(exclude_unset=True), SETTINGS) == to_chat({"input": items}, SETTINGS)
    assert to_chat(params.model_dump(), SETTINGS) == to_chat({"input": items}, SETTINGS)
