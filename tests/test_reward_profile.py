"""What the numbers in a metrics file mean."""

import math
import random
from itertools import combinations, pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_gym_lite.reward_profile import (
    AggregateMetricsMixin,
    add_avg_sample_std_dev,
    compute_aggregate_metrics,
    compute_pass_majority_metrics,
    compute_subset_metrics,
    highest_k_metrics,
)


def task(*rewards, answers=None, **fields):
    answers = answers or [None] * len(rewards)
    return [{"reward": r, "answer": a, **fields} for r, a in zip(rewards, answers, strict=True)]


def metrics_of(*tasks, **options):
    return compute_pass_majority_metrics(list(tasks), **options)[0]


def row(index, rollout, reward, **fields):
    return {"_ng_task_index": index, "_ng_rollout_index": rollout, "reward": reward} | fields


def test_pass_at_k_is_the_chance_that_one_of_k_random_rollouts_passes():
    rewards = [1.0, 0.0, 0.0, 1.0, 0.0]
    metrics = metrics_of(task(*rewards))

    for k in range(1, 6):
        chance = fmean(max(draw) for draw in combinations(rewards, k))
        assert metrics[f"pass@{k}/accuracy"] == pytest.approx(100 * chance)


def test_pass_at_k_of_graded_rewards_is_the_best_of_the_first_k():
    metrics = metrics_of(task(0.2, 0.9, 0.5))

    assert [metrics[f"pass@{k}/accuracy"] for k in (1, 2, 3)] == pytest.approx([20, 90, 90])


def test_a_task_with_fewer_than_k_rollouts_does_not_count_for_k():
    metrics = metrics_of(task(1.0), task(0.0, 0.0))

    assert (metrics["pass@1/accuracy"], metrics["pass@2/accuracy"]) == (50, 0)


def test_the_average_of_k_takes_the_first_k_rollouts_of_each_task():
    metrics = metrics_of(task(1.0, 0.0, 0.0), task(1.0, 1.0, 0.0))

    averages = [metrics[f"pass@1[avg-of-{k}]/accuracy"] for k in (1, 2, 3)]
    assert averages == pytest.approx([100, 75, 50])


def test_the_majority_answers_and_ties_share():
    metrics = metrics_of(task(1.0, 0.0, 0.0, answers=["a", "b", "b"]), answer_key="answer")

    assert [metrics[f"majority@{k}/accuracy"] for k in (1, 2, 3)] == [100, 50, 0]


def test_a_task_without_answers_is_wrong_by_majority_and_counted_as_no_answer():
    metrics = metrics_of(task(1.0, 1.0), task(1.0, 0.0, answers=["a", None]), answer_key="answer")

    assert metrics["majority@2/accuracy"] == 50
    assert metrics["pass@1/no_answer"] == 75


def test_without_an_answer_key_nobody_votes():
    assert not [name for name in metrics_of(task(1.0)) if "majority" in name or "no_answer" in name]


def test_scores_are_the_environments_and_booleans_count_as_numbers():
    def scores(rollout):
        return {"format": rollout["reward"] > 0, "length": 0.5}

    metrics, all_scores, names, max_k = compute_pass_majority_metrics([task(1.0, 0.0)], score_fn=scores)

    assert (names, max_k) == (["format", "length"], 2)
    assert all_scores == [[{"format": 1, "length": 0.5}, {"format": 0, "length": 0.5}]]
    assert (metrics["pass@1/format"], metrics["pass@1/length"]) == (50, 50)


def test_runs_are_compared_across_tasks():
    metrics = metrics_of(task(1.0, 0.0), task(1.0, 1.0))

    assert metrics["per_sample_aggregate"] == {"accuracy": [100, 50]}
    deviation = math.sqrt(2) * 25
    assert metrics["pass@1[avg-of-2]/accuracy/std_dev_across_runs"] == pytest.approx(deviation)
    assert metrics["pass@1[avg-of-2]/accuracy/std_err_across_runs"] == pytest.approx(deviation / math.sqrt(2))


def test_one_run_has_no_spread():
    assert not [name for name in metrics_of(task(1.0), task(0.0)) if "across_runs" in name]


def test_no_tasks_have_no_metrics():
    assert compute_pass_majority_metrics([]) == ({}, [], [], 0)
    assert compute_subset_metrics([], "level") == {}


def test_the_spread_within_tasks_is_added_on_request():
    metrics, scores, names, max_k = compute_pass_majority_metrics([task(1.0, 0.0), task(1.0, 1.0)])
    add_avg_sample_std_dev(metrics, scores, names, max_k)

    assert metrics["pass@1[avg-of-2]/accuracy/avg_sample_std_dev"] == pytest.approx(math.sqrt(0.5) / 2)


def test_subsets_have_the_same_metrics_under_their_own_name():
    tasks = [task(1.0, level="easy"), task(0.0, level="hard"), task(0.0)]

    metrics = compute_subset_metrics(tasks, "level")
    assert (metrics["easy/pass@1/accuracy"], metrics["hard/pass@1/accuracy"]) == (100, 0)
    assert {name.split("/")[0] for name in metrics} == {"easy", "hard"}
    assert not [name for name in metrics if "per_sample_aggregate" in name]


def test_the_highest_k_is_selected_without_spreads():
    metrics, scores, names, max_k = compute_pass_majority_metrics(
        [task(1.0, 0.0, answers=["a", "b"])], answer_key="answer"
    )
    add_avg_sample_std_dev(metrics, scores, names, max_k)

    assert highest_k_metrics(metrics, "pass@{k}", exclude_names=["no_answer"]) == {"pass@2/accuracy": 100}
    assert highest_k_metrics(metrics, "pass@1[avg-of-{k}]", score_names=["accuracy"]) == {
        "pass@1[avg-of-2]/accuracy": 50
    }
    assert highest_k_metrics(metrics, "majority@{k}").keys() == {"majority@2/accuracy", "majority@2/no_answer"}
    assert highest_k_metrics(metrics, "best-of-{k}") == {}


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=6), min_size=1, max_size=5))
def test_more_tries_never_pass_less_often(rewards):
    size = min(map(len, rewards))
    metrics = metrics_of(*(task(*of_task[:size]) for of_task in rewards))
    passes = [metrics[f"pass@{k}/accuracy"] for k in range(1, size + 1)]

    assert all(0 <= value <= 100 for value in passes)
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(passes))
    assert passes[0] == pytest.approx(metrics[f"pass@1[avg-of-{size}]/accuracy"])


def test_rows_are_aggregated_as_the_reference_observed():
    usage = {"input_tokens": 3}
    rows = [
        row(0, 0, 0.0, ok=False, response={"usage": usage}),
        row(0, 1, 1.0, ok=True, response={"usage": usage}),
        row(0, 2, 0.0, ok=True, usage=usage),
    ]
    aggregate = compute_aggregate_metrics(rows)

    assert aggregate.key_metrics == pytest.approx({"mean/reward": 1 / 3, "mean/ok": 2 / 3, "mean/input_tokens": 3.0})
    statistics = {f"{statistic}/reward" for statistic in ("mean", "max", "min", "median", "std")}
    assert statistics < aggregate.agent_metrics.keys()
    assert aggregate.agent_metrics["std/reward"] == pytest.approx(0.5773502691896258)
    assert aggregate.agent_metrics["std/input_tokens"] == 0.0
    (group,) = aggregate.group_level_metrics
    assert group["_ng_task_index"] == 0
    assert group["num_rollouts"] == group["expected_num_rollouts"] == 3
    assert (group["missing_num_rollouts"], group["reward_profile_completion_pct"]) == (0, 100.0)
    assert group["sample"] == {"agent_ref": {"name": "agent"}}
    assert group["rollout_infos"][0] == {
        "rollout_id": "0:0",
        "_ng_task_index": 0,
        "_ng_rollout_index": 0,
        "reward": 0.0,
        "input_tokens": 3,
        "ok": 0,
    }


def test_the_environments_metrics_join_the_standard_ones():
    class Environment(AggregateMetricsMixin):
        def compute_metrics(self, tasks):
            sizes = [len(rollouts) for rollouts in tasks]
            return {"tasks": len(tasks), "per_task_metrics": [{"_ng_task_index": 7, "size": sizes[1]}]}

        def get_key_metrics(self, agent_metrics):
            return {"tasks": agent_metrics["tasks"]}

    environment = Environment()
    rows = [row(7, 0, 1.0), row(2, 0, 0.0), row(7, 1, 1.0)]
    random.Random(0).shuffle(rows)
    aggregate = compute_aggregate_metrics(rows, environment.compute_metrics, environment.get_key_metrics)

    assert aggregate.key_metrics == {"tasks": 2}
    assert aggregate.agent_metrics["mean/reward"] == pytest.approx(2 / 3)
    assert "per_task_metrics" not in aggregate.agent_metrics
    assert [(group["_ng_task_index"], group.get("size")) for group in aggregate.group_level_metrics] == [
        (2, None),
        (7, 2),
    ]


def test_an_environment_that_says_nothing_has_the_means_as_key_metrics():
    plain = AggregateMetricsMixin()
    aggregate = compute_aggregate_metrics([row(0, 0, 1.0)], plain.compute_metrics, plain.get_key_metrics)

    assert aggregate.key_metrics == {"mean/reward": 1.0}
    assert aggregate.agent_metrics["std/reward"] == 0.0


def test_no_rows_have_no_metrics():
    aggregate = compute_aggregate_metrics([])

    assert (aggregate.agent_metrics, aggregate.key_metrics, aggregate.group_level_metrics) == ({}, {}, [])
