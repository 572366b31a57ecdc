"""What `ng_export_rollouts` writes of an output, and what it leaves out."""

import json

import pytest

from .conftest import TOOL, calls, ids, is_trl, replies, rollout, says

WITH_TOOLS = rollout(
    0,
    0,
    output=[calls('{"word": "tea"}'), replies("a drink"), says("It is a drink.")],
    params={
        "instructions": "Be brief.",
        "input": [
            {"role": "developer", "content": "Use the tool."},
            {"role": "user", "content": [{"type": "input_text", "text": "What is tea?"}]},
        ],
        "tools": [{**TOOL, "strict": True}],
    },
)


def test_a_conversation_is_exported_with_its_calls_their_replies_and_the_tools(export):
    (row,), _ = export([WITH_TOOLS], "sft")

    function = {"name": "look_up", "arguments": {"word": "tea"}}
    assert row["messages"] == [
        {"role": "system", "content": "Be brief.\n\nUse the tool."},
        {"role": "user", "content": "What is tea?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "content": "a drink", "tool_call_id": "c1", "name": "look_up"},
        {"role": "assistant", "content": "It is a drink."},
    ]
    assert row["tools"] == [
        {"type": "function", "function": {name: value for name, value in TOOL.items() if name != "type"}}
    ]
    assert (row["reward"], row["task_index"], row["rollout_index"], row["agent"]) == (1.0, 0, 0, "agent")


@pytest.mark.parametrize(
    ("form", "kind"),
    [("sft", {"messages"}), ("preference", {"prompt", "chosen", "rejected"}), ("grpo", {"prompt"})],
)
def test_rows_obey_the_rules_that_trl_states_of_conversational_data(export, form, kind):
    other = rollout(0, 1, 0.0, params=WITH_TOOLS["responses_create_params"])

    rows, _ = export([WITH_TOOLS, other, rollout(1, 0), rollout(1, 1, 0.5)], form)

    assert rows
    assert all(is_trl(row, kind) for row in rows)


def test_conversations_end_with_the_assistant_as_nemo_rl_asks(export):
    rows, _ = export([WITH_TOOLS, rollout(1, 0)], "sft")

    assert {row["messages"][-1]["role"] for row in rows} == {"assistant"}


def test_what_was_not_finished_is_left_out_and_counted(export, write):
    image = {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]}
    write("x_failures.jsonl", [{**rollout(9, 0), "_ng_failure_class": "timeout"}, rollout(0, 0)])
    rows, said = export(
        [
            rollout(0, 0),
            rollout(1, 0, response={"incomplete_details": {"reason": "max_output_tokens"}}),
            rollout(2, 0, response={"status": "incomplete"}),
            rollout(3, 0, output=[calls("{}"), replies("no more turns")]),
            rollout(4, 0, response={"error": {"code": "server_error", "message": "down"}}),
            rollout(5, 0, params=image),
            rollout(0, 0),
            "{torn",
        ],
        "sft",
    )

    assert [row["task_index"] for row in rows] == [0]
    assert "1 rows of 7 rollouts" in said
    for told in ("3 rollouts, truncated", "2 rollouts, failed", "1 rollouts, not text", "1 rollouts, there twice"):
        assert f"left out: {told}" in said
    assert "1 rollouts, no rollout" in said


def test_conversations_below_a_reward_can_be_left_out(export):
    rows, said = export([rollout(0, 0, 0.2), rollout(0, 1, 0.8), rollout(0, 2, None)], "sft", "+min_reward=0.5")

    assert [row["reward"] for row in rows] == [0.8]
    assert "1 rollouts, below min_reward" in said
    assert "1 rollouts, without a reward" in said


def test_arguments_that_are_no_object_stay_as_the_model_wrote_them(export):
    (row,), _ = export([rollout(0, 0, output=[calls('{"word'), replies("what?"), says("Sorry.")])], "sft")

    assert row["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"word'


def interleaved(rewards):
    """Rollouts of several tasks in the order in which they would complete: all first ones, then all second ones."""
    most = max(len(each) for each in rewards)
    return [
        rollout(task, index, each[index])
        for index in reversed(range(most))
        for task, each in enumerate(rewards)
        if index < len(each)
    ]


def test_a_pair_is_the_best_and_the_worst_rollout_of_a_task(export):
    rows, said = export(interleaved([[0.5, 1.0, 0.0], [1.0, 1.0], [0.25, 0.5], [1.0]]), "preference", "+margin=0.5")

    (row,) = rows
    assert row["prompt"] == [{"role": "user", "content": "Question 0?"}]
    assert row["chosen"] == [{"role": "assistant", "content": "Answer 1."}]
    assert row["rejected"] == [{"role": "assistant", "content": "Answer 2."}]
    assert (row["margin"], row["chosen_reward"], row["rejected_reward"]) == (1.0, 1.0, 0.0)
    assert "left out: 3 groups, without a difference" in said


def test_a_pair_can_have_the_columns_of_nemo_rl(export):
    (row,), _ = export(interleaved([[0.0, 1.0]]), "preference", "+columns=nemo_rl")

    assert row["context"] == [{"role": "user", "content": "Question 0?"}]
    assert row["completions"] == [
        {"rank": 0, "completion": [{"role": "assistant", "content": "Answer 1."}]},
        {"rank": 1, "completion": [{"role": "assistant", "content": "Answer 0."}]},
    ]


def test_groups_are_complete_and_in_the_order_of_their_rollouts(export):
    rows = interleaved([[0.0, 1.0, 0.5], [1.0, 1.0], [0.0, 0.0, 1.0]])
    rows[0]["response"]["status"] = "incomplete"

    groups, said = export(rows, "grpo")

    (group,) = groups
    assert (group["task_index"], group["rewards"], group["rollout_indices"]) == (2, [0.0, 0.0, 1.0], [0, 1, 2])
    assert [each[0]["content"] for each in group["completions"]] == ["Answer 0.", "Answer 1.", "Answer 2."]
    assert "left out: 2 groups, incomplete" in said


def test_a_group_is_as_large_as_the_run_was_asked_for_or_as_the_user_asks(export, write):
    entry = {"path": "t.jsonl", "digest": "", "agent_name": None, "limit": None, "num_repeats": 4, "tasks": 2}
    write("x_run.json", json.dumps({"begun": "", "asked": {}, "inputs": [entry]}))
    rows = interleaved([[0.0, 1.0, 0.5, 1.0], [1.0, 1.0, 0.0]])

    as_run, _ = export(rows, "grpo")
    as_asked, _ = export(rows, "grpo", "+group_size=2", "+overwrite=true")

    assert [len(group["rewards"]) for group in as_run] == [4]
    assert [group["rewards"] for group in as_asked] == [[0.0, 1.0], [1.0, 1.0]]


def test_arms_and_agents_of_a_task_are_groups_of_their_own(export):
    other = {"agent_ref": {"name": "other"}}
    rows = [
        rollout(0, index, float(index), _ng_key=key, **fields)
        for index in (0, 1)
        for key, fields in [("a", {"arm": "plain"}), ("b", {"arm": "terse"}), (None, {}), (None, other)]
    ]

    groups, _ = export(rows, "grpo")
    of_one, _ = export(rows, "grpo", "+agent_name=other", "+overwrite=true")

    labels = [("agent", "plain"), ("agent", "terse"), ("agent", None), ("other", None)]
    assert [(group["agent"], group["arm"]) for group in groups] == labels
    assert [group["agent"] for group in of_one] == ["other"]


CONTIGUOUS = [calls("{}", **ids([1, 2], [3])), replies("yes"), says("So.", **ids([1, 2, 3, 4], [5, 6]))]
BROKEN = [calls("{}", **ids([1, 2], [3])), replies("yes"), says("So.", **ids([1, 2, 9, 4], [5, 6]))]


def test_token_ids_are_exported_by_turn_with_a_loss_mask(export):
    rows, _ = export([rollout(0, 0, output=CONTIGUOUS), rollout(1, 0, output=BROKEN), rollout(2, 0)], "sft")

    first = {"input_ids": [1, 2, 3], "loss_mask": [0, 0, 1], "logprobs": [0.0, 0.0, -0.5], "continues": False}
    second = {"input_ids": [4, 5, 6], "loss_mask": [0, 1, 1], "logprobs": [0.0, -0.5, -0.5], "continues": True}
    whole = {"input_ids": [1, 2, 9, 4, 5, 6], "loss_mask": [0] * 4 + [1] * 2, "logprobs": [0.0] * 4 + [-0.5] * 2}
    assert rows[0]["turns"] == [first, second]
    assert rows[1]["turns"] == [first, {**whole, "continues": False}]
    assert rows[2]["turns"] is None


def test_sequences_of_tokens_are_whole_rollouts_as_far_as_turns_continue_each_other(export):
    rows, said = export([rollout(0, 0, output=CONTIGUOUS), rollout(1, 0, output=BROKEN), rollout(2, 0)], "tokens")

    assert [row["input_ids"] for row in rows] == [[1, 2, 3, 4, 5, 6], [1, 2, 3], [1, 2, 9, 4, 5, 6]]
    assert rows[0]["assistant_masks"] == [0, 0, 1, 0, 1, 1]
    assert rows[0]["logprobs"] == [0.0, 0.0, -0.5, 0.0, -0.5, -0.5]
    assert "left out: 1 rollouts, without token ids" in said


def test_groups_and_pairs_carry_the_token_ids_of_their_rollouts(export):
    rows = [rollout(0, 0, 1.0, output=CONTIGUOUS), rollout(0, 1, 0.0, output=BROKEN)]

    (group,), _ = export(rows, "grpo")
    (pair,), _ = export(rows, "preference", "+overwrite=true")

    assert [[turn["continues"] for turn in turns] for turns in group["turns"]] == [[False, True], [False, False]]
    assert [pair["chosen_turns"], pair["rejected_turns"]] == group["turns"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["+output_fpath=out.csv"], "ends neither in .jsonl nor in .parquet"),
        (["+output_fpath=there.jsonl"], "is there already"),
        (["+output_fpath=there.jsonl", "+overwrite=true", "+format=tokens"], "1 without token ids"),
        (["+output_fpath=out.jsonl", "+rollouts_jsonl_fpath=no.jsonl"], "no such file: no.jsonl"),
    ],
)
def test_what_cannot_be_exported_is_said_and_leaves_files_alone(command, write, folder, options, told):
    write("x.jsonl", [rollout(0, 0)])
    there = write("there.jsonl", "kept\n")
    source = [] if "rollouts_jsonl" in options[-1] else ["+rollouts_jsonl_fpath=x.jsonl"]

    ended = command("export_rollouts", *source, *options)

    assert ended.code == 2
    assert told in ended.err
    assert there.read_text() == "kept\n"
    assert {path.name for path in folder.iterdir()} == {"x.jsonl", "there.jsonl"}
