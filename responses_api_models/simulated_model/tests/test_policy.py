"""What the engine answers, as those who write tests and rehearsals against it rely on."""

import json

import jsonschema
import pytest

from nemo_gym_lite.errors import EndpointError
from responses_api_models.simulated_model.answer_keys import Knowledge, read_answer_keys
from responses_api_models.simulated_model.conversation import of_chat, of_responses
from responses_api_models.simulated_model.policy import Policy
from responses_api_models.simulated_model.settings import EngineSettings

WEATHER = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ADD = {
    "name": "add",
    "parameters": {"type": "object", "properties": {"by": {"type": "integer"}}, "required": ["by"]},
}
READ = {"name": "read", "parameters": {"type": "object", "properties": {}}}


def ask(*texts, tools=(), keys=None, occurrence=0, settings=None, **more):
    """The answer to a conversation whose texts are the user's and the engine's in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    body = {"messages": messages, "tools": [{"type": "function", "function": tool} for tool in tools], **more}
    known = Knowledge(answers=keys or {})
    return Policy(settings or EngineSettings(accuracy=1.0), known).answer(of_chat(body), occurrence)


def play(text, tools, **more):
    """All calls of an episode, turn by turn, and the final text; every tool answers `done`."""
    messages, turns = [{"role": "user", "content": text}], []
    offered = [{"type": "function", "function": tool} for tool in tools]
    while True:
        body = {"messages": messages, "tools": offered, **more}
        answer = Policy(EngineSettings(accuracy=1.0), Knowledge()).answer(of_chat(body), 0)
        if not answer.calls:
            return turns, answer.text
        turns.append([(name, json.loads(arguments)) for name, arguments in answer.calls])
        calls = [{"function": {"name": name, "arguments": arguments}} for name, arguments in answer.calls]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages.extend({"role": "tool", "content": "done"} for _ in calls)


def test_the_same_request_has_the_same_answer_and_a_repeat_another():
    assert ask("hi") == ask("hi")
    assert ask("hi") != ask("hi", occurrence=1)


@pytest.mark.parametrize("fixed", [{"seed": 5}, {"temperature": 0}])
def test_a_seeded_or_greedy_request_has_one_answer(fixed):
    assert ask("hi", **fixed) == ask("hi", occurrence=1, **fixed)


def test_another_seed_gives_another_answer():
    assert ask("hi", seed=1) != ask("hi", seed=2)
    assert ask("hi") != ask("hi", settings=EngineSettings(seed=1, accuracy=1.0))


@pytest.mark.parametrize(
    ("task", "right", "said"),
    [
        ("6 times 7? Answer in \\boxed{}.", "42", "\\boxed{42}"),
        ("6 times 7? Answer after ####.", "42", "#### 42"),
        ("6 times 7? Answer between <answer> and </answer>.", "42", "<answer>42</answer>"),
        ("6 times 7?", "42", "The answer is 42."),
        ("6 times 7? End with a line `Answer: `.", "42", "Answer: 42"),
        ("A quarter and a third? \\boxed{}", "7/12", "\\boxed{7/12}"),
        ("Pick.\nA: one\nB: two\nAnswer in \\boxed{}.", "B", "\\boxed{B}"),
    ],
)
def test_a_known_answer_is_given_in_the_form_the_task_asks_for(task, right, said):
    assert ask(task, keys={task: right}).text.endswith(said)
    wrong = ask(task, keys={task: right}, settings=EngineSettings(accuracy=0.0)).text
    assert wrong.strip()
    assert said not in wrong


def test_accuracy_is_the_share_of_right_answers():
    task = "6 times 7? \\boxed{}"
    settings = EngineSettings(accuracy=0.7)
    texts = [ask(task, keys={task: "42"}, occurrence=n, settings=settings).text for n in range(2000)]

    assert 1330 < sum("\\boxed{42}" in text for text in texts) < 1470


def test_without_a_key_a_boxed_answer_is_a_guess_of_the_right_kind():
    assert any(f"\\boxed{{{letter}}}" in ask("Pick.\nA: x\nB: y\n\\boxed{}").text for letter in "AB")
    assert ask("Give 7 back in \\boxed{}").text.endswith("\\boxed{7}")


def test_answer_keys_are_read_from_environments_data(tmp_path):
    path = tmp_path / "data.jsonl"
    parts = [{"type": "input_text", "text": "three"}]
    rows = [
        {"responses_create_params": {"input": "one"}, "expected_answer": 1},
        {"responses_create_params": {"input": [{"role": "user", "content": "two "}]}, "answer": "2"},
        {"responses_create_params": {"input": [{"role": "user", "content": parts}]}, "answer": "3"},
        {"responses_create_params": {"input": "unknown"}},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")

    assert read_answer_keys([path]).answers == {"one": "1", "two": "2", "three": "3"}


def test_a_judge_gives_the_first_verdict_that_its_prompt_offers():
    prompt = "Are A and B equal? Say [[A=B]] if so, else [[A!=B]]. A is [[1, 2]], B is \\boxed{[[1,2]]}."

    assert ask(prompt).text.endswith("[[A=B]]")
    assert ask(prompt, settings=EngineSettings(accuracy=0.0)).text.endswith("[[A!=B]]")


def test_a_tool_is_called_and_then_its_output_is_reported():
    turns, text = play("What is the weather in Oslo?", [WEATHER])

    assert turns == [[("get_weather", {"city": "Oslo"})]]
    assert "done" in text


def test_a_tool_is_called_once_for_each_value_the_task_mentions():
    task = "What is the weather in Rome and in Vienna?"
    calls = [("get_weather", {"city": "Rome"}), ("get_weather", {"city": "Vienna"})]

    assert play(task, [WEATHER])[0] == [calls]
    assert play(task, [WEATHER], parallel_tool_calls=False)[0] == [[call] for call in calls]


def test_several_tools_are_called_one_after_the_other():
    turns, _ = play("Add 5, then add 2.", [ADD, READ])

    assert turns == [[("add", {"by": 5}), ("add", {"by": 2})], [("read", {})]]


def test_a_policy_of_no_accuracy_still_calls_with_valid_arguments():
    for occurrence in range(50):
        settings = EngineSettings(accuracy=0.0)
        answer = ask("Weather in Oslo?", tools=[WEATHER], settings=settings, occurrence=occurrence)
        arguments = json.loads(answer.calls[0][1])
        jsonschema.validate(arguments, WEATHER["parameters"])
        assert arguments["city"] != "Oslo"


def test_tool_choice_is_obeyed():
    assert ask("hi", tools=[WEATHER], tool_choice="none").calls == ()
    named = {"type": "function", "function": {"name": "add"}}
    assert ask("hi", tools=[WEATHER, ADD], tool_choice=named).calls[0][0] == "add"
    assert ask("hi", "hello", "and?", tools=[WEATHER], tool_choice="required").calls


def test_structured_answers_satisfy_their_schema():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    asked = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    jsonschema.validate(json.loads(ask("hi", response_format=asked).text), schema)

    params = {"input": "hi", "text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}
    answer = Policy(EngineSettings(), Knowledge()).answer(of_responses(params), 0)
    jsonschema.validate(json.loads(answer.text), schema)


def test_a_script_is_followed_turn_by_turn():
    call = {"name": "add", "arguments": {"by": 3}}
    script = json.dumps(["first", {"tool_calls": [call], "reasoning": "hm"}, {"content": "last"}])
    task = f"Do it. <script>{script}</script>"

    assert ask(task).text == "first"
    second = ask(task, "first", "go on")
    assert (second.calls, second.reasoning, second.finish_reason) == (
        (("add", '{"by":3}'),),
        "hm",
        "tool_calls",
    )
    assert ask(task, "first", "go on", "x", "and?").text == "last"
    assert "no further turns" in ask(task, "a", "b", "c", "d", "e", "f").text


@pytest.mark.parametrize("script", ["[1", '{"a": 1}', "[[]]", '[{"tool_calls": [{}]}]', "7"])
def test_a_broken_script_is_refused(script):
    with pytest.raises(EndpointError) as refused:
        ask(f"<script>{script}</script>")
    assert refused.value.status == 400


def test_an_answer_is_cut_at_max_tokens_and_a_cut_call_is_only_text():
    short = ask("hi", max_tokens=2)
    assert (len(short.text), short.finish_reason, short.completion_tokens()) == (8, "length", 2)

    cut = ask("hi", tools=[WEATHER], tool_choice="required", max_completion_tokens=5)
    assert (cut.text, cut.calls) == ('<tool_call>{"name": ', ())


def test_reasoning_comes_apart_from_the_text():
    answer = ask("hi", settings=EngineSettings(reasoning=True))

    assert answer.reasoning
    assert answer.reasoning not in answer.text


def test_both_dialects_are_the_same_conversation():
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    of_messages = of_chat(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "go"}]},
                {"role": "assistant", "content": "ok", "tool_calls": [call]},
                {"role": "tool", "content": "7", "tool_call_id": "1"},
            ]
        }
    )
    of_items = of_responses(
        {
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "go"}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]},
                {"type": "function_call", "call_id": "1", "name": "add", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "1", "output": "7"},
            ],
        }
    )

    assert of_messages.digest == of_items.digest
    assert (of_items.turn, of_items.tool_outputs) == (1, ("7",))
