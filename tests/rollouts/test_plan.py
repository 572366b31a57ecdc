"""What a rollout may rely on about its name: content decides it, never its place in a file."""

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.fingerprints import FingerprintSet, FingerprintTable
from nemo_gym_lite.rollouts.plan import PlanSettings, Task, plan
from nemo_gym_lite.rollouts.source import check_input, read_tasks


def tasks(*texts, **fields):
    return [Task(line, {"responses_create_params": {"input": text}, **fields}) for line, text in enumerate(texts, 1)]


def names(specs):
    return [(spec.key, spec.rollout_index) for spec in specs]


def test_a_shuffled_input_names_the_same_rollouts():
    rows = tasks(*(f"question {n}" for n in range(50)))
    shuffled = random.Random(1).sample(rows, len(rows))

    assert set(names(plan(rows, PlanSettings("a", 3)))) == set(names(plan(shuffled, PlanSettings("a", 3))))


def test_the_tail_of_an_input_names_a_subset_of_its_rollouts():
    rows = tasks(*"abcdef")

    assert set(names(plan(rows[3:], PlanSettings("a")))) < set(names(plan(rows, PlanSettings("a"))))


def test_repeats_of_a_task_are_adjacent_and_counted_from_zero():
    specs = list(plan(tasks("x", "y"), PlanSettings("a", 3)))

    assert [spec.rollout_index for spec in specs] == [0, 1, 2, 0, 1, 2]
    assert [spec.task_index for spec in specs] == [0, 0, 0, 1, 1, 1]


def test_identical_rows_are_further_rollouts_of_one_task():
    specs = list(plan(tasks("x", "y", "x"), PlanSettings("a", 2)))

    assert len(set(names(specs))) == 6
    assert [spec.task_index for spec in specs] == [0, 0, 1, 1, 0, 0]


def test_the_order_of_fields_does_not_matter_and_their_values_do():
    one = Task(1, {"responses_create_params": {"input": "x", "top_p": 1}, "answer": "4"})
    other = Task(1, {"answer": "4", "responses_create_params": {"top_p": 1, "input": "x"}})
    different = Task(1, {"answer": "5", "responses_create_params": {"top_p": 1, "input": "x"}})
    keys = [next(plan([task], PlanSettings("a"))).key for task in (one, other, different)]

    assert keys[0] == keys[1] != keys[2]


def test_the_agent_and_the_overrides_are_part_of_the_name():
    [plain] = plan(tasks("x"), PlanSettings("a"))
    [other_agent] = plan(tasks("x"), PlanSettings("b"))
    [warmer] = plan(tasks("x"), PlanSettings("a", params={"temperature": 0.9}))

    assert len({plain.key, other_agent.key, warmer.key}) == 3
    assert warmer.row["responses_create_params"] == {"input": "x", "temperature": 0.9}


def test_labels_of_an_earlier_output_do_not_change_the_name():
    [plain] = plan(tasks("x"), PlanSettings("a"))
    [labelled] = plan(tasks("x", _ng_task_index=7, agent_ref={"name": "a"}), PlanSettings("b"))

    assert labelled.key == plain.key
    assert labelled.task_index == 7


def test_a_row_may_name_its_own_agent_and_repeats_may_differ_by_agent():
    rows = [*tasks("x"), *tasks("y", agent_ref={"name": "b"})]
    specs = list(plan(rows, PlanSettings("a", {"a": 2, "_default": 1})))

    assert [spec.agent_name for spec in specs] == ["a", "a", "b"]


def test_seeds_differ_between_repeats_and_leave_the_name_alone():
    plain = list(plan(tasks("x"), PlanSettings("a", 2)))
    seeded = list(plan(tasks("x"), PlanSettings("a", 2, add_seed=True)))

    assert names(plain) == names(seeded)
    assert [spec.row["responses_create_params"]["metadata"]["extra_body"] for spec in seeded] == [
        '{"seed":0}',
        '{"seed":1}',
    ]


def test_a_prompt_template_makes_the_input_from_the_row():
    row = Task(1, {"responses_create_params": {}, "question": "2+2?"})
    [spec] = plan([row], PlanSettings("a", prompt={"user": "Q: {question}", "system": "be brief"}))

    assert spec.row["responses_create_params"]["input"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "Q: 2+2?"},
    ]


@pytest.mark.parametrize("row", [{"responses_create_params": {"input": "x"}}, {"responses_create_params": {}}])
def test_a_prompt_that_does_not_fit_the_row_is_an_error(row):
    with pytest.raises(ConfigError, match="prompt_config"):
        list(plan([Task(1, row)], PlanSettings("a", prompt={"user": "{question}"})))


@given(st.lists(st.integers(min_value=1, max_value=2**64 - 1)), st.integers(0, 3000))
def test_a_table_of_fingerprints_remembers_what_a_dict_remembers(keys, expected):
    table = FingerprintTable(expected)
    model = {}
    for number, key in enumerate(keys):
        table.set(key, number)
        model[key] = number

    assert len(table) == len(model)
    assert all(table.get(key) == value for key, value in model.items())
    assert table.get(12345) == model.get(12345)


@pytest.mark.parametrize("kind", [FingerprintSet, FingerprintTable])
def test_a_set_of_fingerprints_grows_beyond_what_was_expected(kind):
    found = kind(10)

    assert all(found.add(key) for key in range(1, 20_000))
    assert not any(found.add(key) for key in range(1, 20_000))
    assert len(found) == 19_999


def test_a_label_that_no_table_can_hold_is_replaced_by_the_tasks_place():
    [spec] = plan(tasks("a", _ng_task_index=1 << 64), PlanSettings("a"))

    assert spec.task_index == 0


def test_a_byte_order_mark_is_no_part_of_the_first_task(tmp_path):
    path = tmp_path / "from_windows.jsonl"
    path.write_text('{"responses_create_params": {"input": "a"}}\r\n', encoding="utf-8-sig")

    assert check_input(path, PlanSettings("a")).tasks == 1
    assert [task.row for task in read_tasks(path)] == [tasks("a")[0].row]


def test_a_row_may_leave_its_conversation_to_the_agent_and_is_told_apart_by_its_other_fields(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(f'{{"n": {n}, "responses_create_params": {{"input": []}}}}\n' for n in range(2)))

    assert check_input(path, PlanSettings("a")).tasks == 2
    first, second = plan(read_tasks(path), PlanSettings("a"))
    assert first.key != second.key


def test_an_input_that_can_be_read_only_once_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")

    with pytest.raises(ConfigError, match="no regular file"):
        check_input(tmp_path / "pipe.jsonl", PlanSettings("a"))
