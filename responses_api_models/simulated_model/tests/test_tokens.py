"""What training may rely on in the engine's token ids."""

from hypothesis import given
from hypothesis import strategies as st

from responses_api_models.simulated_model import tokens
from responses_api_models.simulated_model.answer_keys import Knowledge
from responses_api_models.simulated_model.conversation import of_chat
from responses_api_models.simulated_model.policy import Policy
from responses_api_models.simulated_model.replies import chat_reply
from responses_api_models.simulated_model.settings import EngineSettings

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "wizard"]), st.text())))
def test_counts_and_ids_agree(rendered):
    assert tokens.prompt_count(rendered) == len(tokens.prompt_ids(rendered))


def play(body, settings):
    conversation = of_chat(body)
    answer = Policy(settings, Knowledge()).answer(conversation, 0)
    return chat_reply(body, conversation, answer, conversation.prompt_tokens())


@given(st.text(min_size=1), st.booleans())
def test_each_turns_prompt_begins_with_the_ids_of_the_turn_before_and_its_answer(text, with_tools):
    body = {"messages": [{"role": "user", "content": text}], "return_token_ids": True}
    body |= {"tools": TOOLS} if with_tools else {}
    first = play(body, EngineSettings())
    message = first["choices"][0]["message"]
    follow = {"role": "tool", "content": "7"} if message.get("tool_calls") else {"role": "user", "content": "more"}
    second = play({**body, "messages": [*body["messages"], message, follow]}, EngineSettings())

    prefix = first["prompt_token_ids"] + first["choices"][0]["token_ids"]
    assert second["prompt_token_ids"][: len(prefix)] == prefix


def test_usage_logprobs_and_ids_have_one_length():
    body = {
        "messages": [{"role": "user", "content": "hi"}],
        "return_token_ids": True,
        "logprobs": True,
        "return_tokens_as_token_ids": True,
    }
    for limit in (3, None):
        reply = play({**body, "max_tokens": limit}, EngineSettings(reasoning=True))
        choice = reply["choices"][0]
        named = [int(entry["token"].removeprefix("token_id:")) for entry in choice["logprobs"]["content"]]
        assert choice["token_ids"] == named
        assert reply["usage"]["completion_tokens"] == len(named)
        assert choice["finish_reason"] == ("length" if limit else "stop")
