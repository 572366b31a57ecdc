"""Right rollouts that the engine knows from environments' data: what those who write `reference_turns` rely on."""

import json
import re

import jsonschema
import pytest

from responses_api_models.simulated_model.answer_keys import key_files, read_answer_keys
from responses_api_models.simulated_model.conversation import of_chat
from responses_api_models.simulated_model.policy import Policy
from responses_api_models.simulated_model.settings import EngineSettings

ADD = {
    "name": "add",
    "parameters": {"type": "object", "properties": {"by": {"type": "integer"}}, "required": ["by"]},
}
READ = {"name": "read", "parameters": {"type": "object", "properties": {}}}
TURNS = [
    {"tool_calls": [{"name": "read", "arguments": {}}]},
    {"content": "Now I add.", "tool_calls": [{"name": "add", "arguments": {"by": 3}}]},
    "The counter holds \\boxed{3}.",
]


@pytest.fixture
def policy_that_knows(tmp_path):
    """`policy_that_knows(row, ..., accuracy=1.0)` is a policy that has read these rows."""

    def of(*rows, **settings):
        path = tmp_path / "example.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        return Policy(EngineSettings(**settings), read_answer_keys([path]))

    return of


def row(text, *turns, before=()):
    asked = [{"role": "developer", "content": "Be brief."}, *before, {"role": "user", "content": text}]
    return {"responses_create_params": {"input": asked}, "reference_turns": turns}


def play(policy, text, occurrence=0, say=None, turns=10):
    """The turns of an episode as a script writes them; a tool answers "done", and `say` goes on after a text."""
    messages, played = [{"role": "user", "content": text}], []
    tools = [{"type": "function", "function": tool} for tool in (READ, ADD)]
    while len(played) < turns:
        answer = policy.answer(of_chat({"messages": messages, "tools": tools}), occurrence)
        calls = [{"function": {"name": name, "arguments": arguments}} for name, arguments in answer.calls]
        messages.append(
            {"role": "assistant", "content": answer.text, "reasoning": answer.reasoning, "tool_calls": calls}
        )
        messages.extend({"role": "tool", "content": "done"} for _ in calls)
        played.append((answer.text, [(name, json.loads(arguments)) for name, arguments in answer.calls]))
        if not calls:
            if say is None:
                break
            messages.append({"role": "user", "content": say})
    return played


RIGHT = [("", [("read", {})]), ("Now I add.", [("add", {"by": 3})]), ("The counter holds \\boxed{3}.", [])]


@pytest.mark.parametrize("reasoning", [False, True])
def test_a_known_rollout_is_played_turn_by_turn(policy_that_knows, reasoning):
    policy = policy_that_knows(row("Add three. ", *TURNS), accuracy=1.0, reasoning=reasoning)
    assert play(policy, "Add three.") == RIGHT


def test_a_rollout_is_right_as_a_whole_or_wrong_as_a_whole_and_as_often_as_accuracy_says(policy_that_knows):
    policy = policy_that_knows(row("Add three.", *TURNS), accuracy=0.7)
    episodes = [play(policy, "Add three.", occurrence) for occurrence in range(400)]

    assert 240 < episodes.count(RIGHT) < 320
    for episode in episodes:
        assert episode == RIGHT or not any(turn in RIGHT for turn in episode)


def test_a_wrong_rollout_calls_the_same_tools_with_other_arguments(policy_that_knows):
    policy = policy_that_knows(row("Add three.", *TURNS), accuracy=0.0)
    first, second, last = play(policy, "Add three.")

    assert first[1] == [("read", {})]
    (name, arguments) = second[1][0]
    jsonschema.validate(arguments, ADD["parameters"])
    assert (name, arguments["by"]) != ("add", 3)
    assert last[0].startswith("The counter holds \\boxed{")
    assert last[0] != "The counter holds \\boxed{3}."


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("def twice(n):\n    return 2 * n", r"def twice\(n\):\n\s*"),
        ('{"a":1}', "unknown"),
        ("12", "1[0134]|2[2]|13"),
        ("So it is:\nAnswer: B", "So it is:\nAnswer: [ACD]"),
        ("First \\boxed{1}, then \\boxed{x}.", r"First \\boxed\{1\}, then \\boxed\{[A-D]\}\."),
    ],
)
def test_a_wrong_text_is_another_answer_or_breaks_off(policy_that_knows, right, wrong):
    ((said, _),) = play(policy_that_knows(row("Go.", right), accuracy=0.0), "Go.")
    assert said != right
    assert re.fullmatch(wrong, said)


def test_a_game_that_goes_on_longer_than_the_known_rollout_is_answered_as_long_as_it_asks(policy_that_knows):
    for accuracy in (0.0, 1.0):
        policy = policy_that_knows(row("Play.", "left", "right"), accuracy=accuracy)
        moves = [text for text, _ in play(policy, "Play.", say="Your turn.", turns=5)]
        assert len(moves) == 5
        assert (moves[:2] == ["left", "right"]) == (accuracy == 1.0)
        assert all(moves)


def test_a_known_rollout_that_ends_with_a_call_ends_with_a_report(policy_that_knows):
    for accuracy in (0.0, 1.0):
        policy = policy_that_knows(row("Add three.", *TURNS[:2]), accuracy=accuracy)
        assert [len(calls) for _, calls in play(policy, "Add three.")] == [1, 1, 0]


def test_assistant_messages_of_the_task_itself_are_no_turns(policy_that_knows):
    before = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    policy = policy_that_knows(row("Go.", "one", "two", before=before), accuracy=1.0)
    asked = [*before, {"role": "user", "content": "Go."}]

    assert policy.answer(of_chat({"messages": asked}), 0).text == "one"
    asked += [{"role": "assistant", "content": "one"}, {"role": "user", "content": "And?"}]
    assert policy.answer(of_chat({"messages": asked}), 0).text == "two"


def test_rows_and_lines_that_say_nothing_of_use_are_passed_over(tmp_path):
    lines = [
        "no json",
        "[]",
        "{}",
        '{"responses_create_params": 7}',
        '{"responses_create_params": {"input": [3, {"role": "user", "content": null}]}, "answer": "x"}',
        '{"responses_create_params": {"input": "a"}, "answer": ["x"], "reference_turns": "left"}',
        '{"responses_create_params": {"input": "a"}, "reference_turns": [{"tool_calls": [{}]}]}',
        '{"responses_create_params": {"input": "b"}, "answer": 7}',
    ]
    path = tmp_path / "example.jsonl"
    path.write_text("\n".join(lines))

    known = read_answer_keys([path])
    assert (known.answers, known.references) == ({"b": "7"}, {})


def test_a_pattern_names_files_in_every_search_root_and_the_first_root_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("gsm8k", "my_own"):
        path = tmp_path / "resources_servers" / name / "data/example.jsonl"
        path.parent.mkdir(parents=True)
        path.touch()
    found = key_files(["resources_servers/*/data/example.jsonl"])

    assert tmp_path / "resources_servers/my_own/data/example.jsonl" in found
    assert [path.parents[3] for path in found if path.parts[-3] == "gsm8k"] == [tmp_path]
    assert any(path.parts[-3] == "mcqa" for path in found)
    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl, nor/\*\.jsonl"):
        key_files(["gone.jsonl", "nor/*.jsonl"])
