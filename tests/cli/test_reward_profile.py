"""What `ng_reward_profile` says of each task, and when it refuses to."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import read_lines, row

REWARDS = {"tea": [1.0, 0.0], "milk": [1.0, 1.0], "ice": [0.0, 0.0]}


def rollout(word, index, **fields):
    task = list(REWARDS).index(word)
    return {
        **row(word=word),
        "response": {"output": []},
        "reward": REWARDS[word][index],
        "usage": {"input_tokens": 3},
        "agent_ref": {"type": "responses_api_agents", "name": "agent"},
        "_ng_task_index": task,
        "_ng_rollout_index": index,
        "_ng_key": f"key-{word}",
        **fields,
    }


@pytest.fixture
def output(write):
    """An output in the order of completion, with the tasks that were played and the same as NeMo Gym keeps them."""
    order = [("milk", 1), ("tea", 0), ("ice", 1), ("ice", 0), ("tea", 1), ("milk", 0)]
    rows = [rollout(*each) for each in order]
    write("x.jsonl", rows)
    write("tasks.jsonl", [row(word=word) for word in REWARDS])
    labelled = [
        row(word=word, _ng_task_index=task, _ng_rollout_index=index)
        for task, word in enumerate(REWARDS)
        for index in (0, 1)
    ]
    write("materialized.jsonl", labelled)
    return rows


def by_word(path="x_reward_profiling.jsonl"):
    return {each["sample"]["word"]: each for each in read_lines(path)}


@pytest.mark.parametrize("inputs", [None, "tasks.jsonl", "materialized.jsonl"])
def test_each_task_has_a_row_with_its_statistics_and_its_input(command, output, inputs):
    options = [f"+materialized_inputs_jsonl_fpath={inputs}"] if inputs else []

    ended = command("reward_profile", "+rollouts_jsonl_fpath=x.jsonl", *options)

    assert ended.code == 0, ended.err
    found = by_word()
    assert [each["_ng_task_index"] for each in read_lines("x_reward_profiling.jsonl")] == [0, 1, 2]
    assert {word: each["mean/reward"] for word, each in found.items()} == {"tea": 0.5, "milk": 1.0, "ice": 0.0}
    assert found["tea"]["num_rollouts"] == found["tea"]["expected_num_rollouts"] == 2
    assert [info["rollout_id"] for info in found["tea"]["rollout_infos"]] == ["0:0", "0:1"]
    assert found["tea"]["sample"]["responses_create_params"] == row()["responses_create_params"]
    assert "response" not in found["tea"]["sample"]
    assert "6 of 6 rollouts (100.00 %)" in ended.err


def test_each_agent_has_its_statistics(command, output):
    command("reward_profile", "+rollouts_jsonl_fpath=x.jsonl")

    [agent] = json.loads(Path("x_agent_metrics.json").read_text())
    assert agent["agent_ref"] == {"name": "agent"}
    assert (agent["mean/reward"], agent["mean/input_tokens"]) == (0.5, 3.0)


@pytest.mark.parametrize("inputs", ["tasks.jsonl", "materialized.jsonl"])
def test_missing_rollouts_stop_it_unless_they_are_allowed_to_be(command, output, write, inputs):
    write("part.jsonl", [rollout("tea", 0), rollout("milk", 0), rollout("milk", 1)])
    write("part_run.json", json.dumps({"begun": "now", "asked": {}, "inputs": [INPUT]}))
    argv = ["+rollouts_jsonl_fpath=part.jsonl", f"+input_jsonl_fpath={inputs}"]

    ended = command("reward_profile", *argv)
    assert ended.code == 2
    assert "3 of 6 rollouts are in" in ended.err

    ended = command("reward_profile", *argv, "+allow_partial_rollouts=true")
    assert ended.code == 0, ended.err
    assert "1 tasks complete, 1 in part, 1 without a rollout" in ended.err
    found = by_word("part_reward_profiling.jsonl")
    assert set(found) == {"tea", "milk"}
    assert (found["tea"]["expected_num_rollouts"], found["tea"]["missing_num_rollouts"]) == (2, 1)
    assert found["tea"]["reward_profile_completion_pct"] == 50.0


INPUT = {"path": "tasks.jsonl", "digest": "", "agent_name": "agent", "limit": None, "num_repeats": 2, "tasks": 3}


@pytest.mark.parametrize(
    ("rows", "options", "complaint"),
    [
        ([rollout("tea", 0), rollout("tea", 0)], [], "task 0, rollout 0 of agent is there twice"),
        ([rollout("tea", 0, _ng_task_index=7)], ["+input_jsonl_fpath=tasks.jsonl"], "task 7 of the rollouts is not in"),
        ([rollout("tea", 0), rollout("ice", 0, _ng_task_index=0)], ["+input_jsonl_fpath=tasks.jsonl"], "two tasks"),
        (["{"], [], "holds no rollout"),
        ([row(word="tea"), {}], [], "holds no rollout"),
        ([rollout("tea", 0)], ["+input_jsonl_fpath=gone.jsonl"], "no such file: gone.jsonl"),
    ],
)
def test_an_output_that_does_not_fit_is_refused(command, output, write, rows, options, complaint):
    write("y.jsonl", rows)

    ended = command("reward_profile", "+rollouts_jsonl_fpath=y.jsonl", *options)

    assert ended.code == 2
    assert complaint in ended.err
    assert not Path("y_reward_profiling.jsonl").exists()


def test_two_inputs_in_one_output_keep_their_rows_apart(command, write):
    write("x.jsonl", [rollout("tea", 0), rollout("ice", 0, _ng_task_index=0)])

    assert command("reward_profile", "+rollouts_jsonl_fpath=x.jsonl").code == 0

    assert {word: each["mean/reward"] for word, each in by_word().items()} == {"tea": 1.0, "ice": 0.0}


def test_a_torn_last_line_is_told_and_passed_over(command, output):
    with Path("x.jsonl").open("a") as file:
        file.write('{"reward": 1')

    ended = command("reward_profile", "+rollouts_jsonl_fpath=x.jsonl")

    assert ended.code == 0
    assert "1 lines are no rollouts" in ended.err
