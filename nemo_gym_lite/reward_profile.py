"""What an environment's rewards come to: standard statistics, its own metrics and those to look at first."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from nemo_gym_lite.config_types import AggregateMetrics
from nemo_gym_lite.pass_at_k import (
    add_avg_sample_std_dev,
    compute_pass_majority_metrics,
    compute_subset_metrics,
    highest_k_metrics,
)
from nemo_gym_lite.rollouts.metrics import AgentMetrics
from nemo_gym_lite.row_fields import TASK_INDEX

__all__ = [
    "AggregateMetricsMixin",
    "add_avg_sample_std_dev",
    "compute_aggregate_metrics",
    "compute_pass_majority_metrics",
    "compute_subset_metrics",
    "highest_k_metrics",
]

Rollout: TypeAlias = dict[str, Any]
Metrics: TypeAlias = dict[str, Any]


class AggregateMetricsMixin:
    """What environments and agents override to say more than the standard statistics."""

    def compute_metrics(self, tasks: list[list[Rollout]]) -> Metrics:
        """Compute metrics over all rollouts, task by task; they are merged into `agent_metrics`.

        A list `per_task_metrics` in the result, of dicts with `_ng_task_index`, goes into the groups instead.
        """
        return {}

    def get_key_metrics(self, agent_metrics: Metrics) -> Metrics:
        """Select the metrics to look at first: all means."""
        return means(agent_metrics)


def means(agent_metrics: Metrics) -> Metrics:
    """Return the `mean/*` entries of `agent_metrics`."""
    return {name: value for name, value in agent_metrics.items() if name.startswith("mean/")}


def compute_aggregate_metrics(
    verify_responses: Sequence[Rollout],
    compute_metrics_fn: Callable[[list[list[Rollout]]], Metrics] | None = None,
    get_key_metrics_fn: Callable[[Metrics], Metrics] | None = None,
    *,
    with_groups: bool = True,
) -> AggregateMetrics:
    """Aggregate rows: statistics of each numeric field per task and overall, and the environment's own.

    Args:
        verify_responses: Rows of one agent, without prompts and responses (but with the responses' usage).
        compute_metrics_fn: Usually `AggregateMetricsMixin.compute_metrics`.
        get_key_metrics_fn: Usually `AggregateMetricsMixin.get_key_metrics`; all means by default.
        with_groups: False leaves in `group_level_metrics` only what the environment itself says of tasks.
    """
    if not verify_responses:
        return AggregateMetrics()
    statistics = AgentMetrics()
    for row in verify_responses:
        usage = row.get("usage") or (row.get("response") or {}).get("usage")
        statistics.add({**row, "usage": usage})
    agent_metrics = statistics.agent_metrics()
    groups = list(statistics.group_metrics("agent")) if with_groups else []
    if compute_metrics_fn is not None:
        own = dict(compute_metrics_fn(_by_task(verify_responses)))
        per_task = {metrics[TASK_INDEX]: metrics for metrics in own.pop("per_task_metrics", None) or ()}
        for group in groups:
            group.update(per_task.get(group[TASK_INDEX], {}))
        groups = groups if with_groups else list(per_task.values())
        agent_metrics.update(own)
    select = get_key_metrics_fn or means
    return AggregateMetrics(group_level_metrics=groups, agent_metrics=agent_metrics, key_metrics=select(agent_metrics))


def _by_task(rows: Sequence[Rollout]) -> list[list[Rollout]]:
    tasks: dict[int, list[Rollout]] = {}
    for row in rows:
        tasks.setdefault(row.get(TASK_INDEX) or 0, []).append(row)
    return [tasks[index] for index in sorted(tasks)]
