"""Arms: every task is played under each, told apart in rows and metrics, and compared."""

import re
import statistics
from pathlib import Path

import pytest

from nemo_gym_lite.arms.arm import Arm
from nemo_gym_lite.arms.comparison import chance_of_k, paired_difference, t_quantile
from nemo_gym_lite.arms.file import load_arms
from nemo_gym_lite.arms.metrics import ArmMetrics
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.plan import PlanSettings, Task, plan
from tests.collect.workspace import arguments, identities

ARMS = """
arms:
  - name: plain
  - name: terse
    system: Be brief.
    responses_create_params: {temperature: 0.5}
"""
THIRD = ARMS + "  - {name: quoted, user: 'Q: {question}'}\n"
OUTPUT = "results/rollouts.jsonl"


def words(**more):
    return arguments(input_jsonl_fpath="tasks.jsonl", arms_fpath="arms.yaml", **more)


def prompt_of(row):
    return [(item["role"], item["content"]) for item in row["responses_create_params"]["input"]]


def a_row(**more):
    return {"responses_create_params": {"input": [{"role": "user", "content": "2 + 2?"}]}, "question": "2 + 2?", **more}


async def test_every_task_is_played_once_per_arm_and_repeat_and_a_task_stays_at_one_endpoint(workspace, engines):
    fleet = await engines(2, latency={"ttft_s": 0.02})
    workspace.points_to(*(engine.base_url for engine in fleet))
    workspace.write_tasks("tasks.jsonl", 20)
    workspace.write("arms.yaml", ARMS)

    run = await workspace.collect(*words(num_repeats=3, question_batch_size=4))

    assert run.code == 0, run.err
    rows = workspace.rows(OUTPUT)
    assert len(set(identities(rows))) == len(rows) == 20 * 2 * 3
    played = {(row["arm"], row["question"], row["_ng_rollout_index"]) for row in rows}
    assert len(played) == 120
    assert {row["responses_create_params"].get("temperature") for row in rows if row["arm"] == "terse"} == {0.5}
    assert all((prompt_of(row)[0] == ("system", "Be brief.")) == (row["arm"] == "terse") for row in rows)
    tasks = [{session.partition("-")[0] for session in engine.stats.sessions} for engine in fleet]
    assert not tasks[0] & tasks[1]
    assert min(map(len, tasks)) >= 5
    assert workspace.json("results/rollouts_run.json")["counts"]["max_in_flight"] <= 4 * 2 * 3
    [agent] = workspace.json("results/rollouts_aggregate_metrics.json")
    assert [(arm["arm"], arm["tasks"], arm["rollouts"]) for arm in agent["arms"]] == [
        ("plain", 20, 60),
        ("terse", 20, 60),
    ]
    assert agent["arms"][0].keys() >= {"mean/reward", "pass@1/reward", "pass@3/reward", "mean/output_tokens"}
    [pair] = agent["arm_comparisons"]["pairs"]
    assert (pair["arm"], pair["baseline"], pair["tasks"], len(pair["ci95"])) == ("terse", "plain", 20, 2)
    assert {group["arm"] for group in agent["group_level_metrics"]} == {"plain", "terse"}
    assert "arms of gsm8k_simple_agent" in run.err


async def test_a_new_arm_is_all_that_is_played_and_later_commands_keep_arms(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 5)
    workspace.write("arms.yaml", ARMS)
    routing = "++policy_model.responses_api_models.vllm_model.routing.session_affinity=session"
    assert (await workspace.collect(*words())).code == 0
    before = workspace.rows(OUTPUT)

    workspace.write("arms.yaml", THIRD)
    run = await workspace.collect(*words(), routing)

    assert run.code == 0, run.err
    assert workspace.rows(OUTPUT)[:10] == before
    assert [row["arm"] for row in workspace.rows(OUTPUT)[10:]] == ["quoted"] * 5

    workspace.write("arms.yaml", THIRD.replace("Be brief.", "Be long."))
    run = await workspace.collect(*words())

    assert run.code == 0, run.err
    rows = workspace.rows(OUTPUT)
    assert len(set(identities(rows))) == len(rows) == 20
    assert {prompt_of(row)[0][1] for row in rows[15:]} == {"Be long."}
    [agent] = workspace.json("results/rollouts_aggregate_metrics.json")
    names = [arm["arm"].partition("@")[0] for arm in agent["arms"]]
    assert names == ["plain", "terse", "terse", "quoted"]

    scored = await workspace.run(
        "verify_rollouts",
        words()[0],
        f"+input_jsonl_fpath={OUTPUT}",
        "+output_jsonl_fpath=results/again.jsonl",
    )
    assert scored.code == 0, scored.err
    assert {row["arm"] for row in workspace.rows("results/again.jsonl")} == {"plain", "terse", "quoted"}
    [again] = workspace.json("results/again_aggregate_metrics.json")
    assert again["arms"] == agent["arms"]
    merged = await workspace.run("aggregate_rollouts", f"+input_glob={OUTPUT}", "+output_jsonl_fpath=results/all.jsonl")
    assert merged.code == 0, merged.err
    assert workspace.json("results/all_aggregate_metrics.json")[0]["arms"] == agent["arms"]


async def test_the_profile_of_tasks_has_a_row_per_task_and_arm(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 3)
    workspace.write("arms.yaml", ARMS)
    collected = await workspace.collect(*words(num_repeats=2, num_workers=2))
    assert collected.code == 0
    assert "arms of gsm8k_simple_agent" in collected.err
    for inputs in ([], ["+materialized_inputs_jsonl_fpath=tasks.jsonl"]):
        run = await workspace.run("reward_profile", f"+rollouts_jsonl_fpath={OUTPUT}", *inputs)

        assert run.code == 0, run.err
        groups = workspace.rows("results/rollouts_reward_profiling.jsonl")
        assert sorted(group["arm"] for group in groups) == ["plain"] * 3 + ["terse"] * 3
        assert {group["num_rollouts"] for group in groups} == {2}


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        (None, "arms_fpath: no such file: arms.yaml"),
        ("arms: [{name: a}, {name: a}]", "two arms of the name 'a'"),
        ("arms: [{name: a, sytem: x}]", "sytem"),
        ("arms: []", "holds no arm"),
        ("arms: [{name: a, responses_create_params: {temperatur: 1}}]", "there is no field `temperatur`"),
        ("arms: [{name: a, responses_create_params: {input: x}}]", "`input` is the prompt"),
    ],
)
def test_mistakes_in_a_file_of_arms_are_told(tmp_path, monkeypatch, arms, told):
    monkeypatch.chdir(tmp_path)
    if arms is not None:
        (tmp_path / "arms.yaml").write_text(arms)
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_arms(Path("arms.yaml"))


async def test_a_field_that_rows_lack_is_told_with_the_row_before_anything_starts(workspace):
    workspace.write_tasks("tasks.jsonl", 1)
    workspace.write("arms.yaml", "arms: [{name: a, user: 'Solve {equation}'}]")
    workspace.points_to("http://127.0.0.1:9/v1")
    run = await workspace.collect(*words())
    assert run.code == 2
    assert "tasks.jsonl, line 1: arm a: `user` names the field 'equation', which this row does not have" in run.err


def test_arms_share_the_label_of_their_task_and_a_changed_one_has_new_keys():
    before = (Arm(name="a"), Arm(name="b", system="One."))
    after = (Arm(name="a"), Arm(name="b", system="Two."))
    old, new = (list(plan([Task(1, a_row())], PlanSettings("x", repeats=2, arms=arms))) for arms in (before, after))
    assert {spec.task_index for spec in old} == {0}
    assert [spec.rollout_index for spec in old] == [0, 1, 0, 1]
    assert [one.key == other.key for one, other in zip(old, new, strict=True)] == [True, True, False, False]


def test_a_template_goes_around_the_rows_own_prompt_and_a_system_prompt_takes_the_place_of_its_own():
    row = a_row()
    row["responses_create_params"]["input"].insert(0, {"role": "system", "content": "Old."})
    arm = Arm(name="a", system="Braces {stay}.", user="{prompt} Think. {{x}}")
    asked = [("system", "Braces {stay}."), ("user", "2 + 2? Think. {x}")]
    assert prompt_of(arm.applied(row)) == asked
    assert prompt_of(Arm(name="a", system="").applied(row)) == [("user", "2 + 2?")]
    assert prompt_of(arm.applied({"responses_create_params": {"input": "2 + 2?"}})) == asked
    assert prompt_of(Arm(name="a", user="{question}").applied({**row, "responses_create_params": {}})) == [
        ("user", "2 + 2?")
    ]
    parts = [{"type": "input_image", "image_url": "data:"}, {"type": "input_text", "text": "2 + 2?"}]
    [item] = Arm(name="a", user="{prompt}!").applied(
        {"responses_create_params": {"input": [{"role": "user", "content": parts}]}}
    )["responses_create_params"]["input"]
    assert item["content"] == [parts[0], {"type": "input_text", "text": "2 + 2?!"}]
    assert Arm(name="a").applied(a_row())["responses_create_params"] == a_row()["responses_create_params"]
    with pytest.raises(ConfigError, match="has a field `arm` already"):
        arm.applied(a_row(arm="b"))


def test_the_arms_that_come_with_the_package_fit_their_environment():
    arms = load_arms(Path("configs/arms/gsm8k.yaml"))
    assert [arm.name for arm in arms] == ["plain", "careful", "restated", "bare"]
    assert "\\boxed{}" in prompt_of(arms[-1].applied(a_row()))[-1][1]


def test_an_interval_is_that_of_students_t():
    known = {1: 12.7062, 2: 4.3027, 5: 2.5706, 30: 2.0423, 1000: 1.9623}
    assert {freedom: round(t_quantile(freedom), 4) for freedom in known} == pytest.approx(known, rel=1e-3)
    difference, interval = paired_difference([1.0, 0.5, 1.0, 0.0], [0.5, 0.5, 0.0, 0.0])
    half = 3.1824 * statistics.stdev([0.5, 0.0, 1.0, 0.0]) / 2
    assert difference == pytest.approx(0.375)
    assert interval == pytest.approx((0.375 - half, 0.375 + half), rel=1e-2)
    assert paired_difference([1.0], [0.0]) == (1.0, None)


def test_the_chance_of_k_is_unbiased():
    assert chance_of_k(2, [1.0, 0.0, 0.0]) == pytest.approx(2 / 3)
    assert chance_of_k(1, [0.2, 0.4]) == pytest.approx(0.3)
    assert chance_of_k(2, [0.2, 0.4]) == pytest.approx(0.4)


def test_arms_are_compared_over_the_tasks_that_both_played():
    metrics = ArmMetrics()
    for task, arm, reward in (("t", "b", 1), ("t", "a", 0), ("u", "a", 1), ("t", "a", 1), ("v", "b", 0)):
        label = {"task": task, "says": arm, "number": "ab".index(arm)}
        metrics.add({"arm": arm, "_ng_arm": label, "reward": reward, "usage": {"output_tokens": 4}})
    summary = metrics.summary()
    assert [(arm["arm"], arm["mean/output_tokens"], arm["pass@1/reward"]) for arm in summary["arms"]] == [
        ("a", 4.0, 75.0),
        ("b", 4.0, 50.0),
    ]
    [pair] = summary["arm_comparisons"]["pairs"]
    assert pair == {"arm": "b", "baseline": "a", "tasks": 1, "difference": 0.5, "ci95": None}
    assert ArmMetrics().summary() == {}
