"""How often a task is solved in k tries: pass@k, average of k, majority of k, and how much runs differ.

A *task* here is the list of its rollouts, each a plain dict. All values are percent.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import Any, TypeAlias

Rollout: TypeAlias = dict[str, Any]
Tasks: TypeAlias = Sequence[Sequence[Rollout]]
Scores: TypeAlias = dict[str, float]
ScoreFunction: TypeAlias = Callable[[Rollout], Mapping[str, float | bool]]

_SPREADS = ("std_dev_across_runs", "std_err_across_runs", "avg_sample_std_dev")


def compute_pass_majority_metrics(
    tasks: Tasks, score_fn: ScoreFunction | None = None, answer_key: str | None = None
) -> tuple[dict[str, Any], list[list[Scores]], list[str], int]:
    """Compute metrics of every score for every k from 1 to the most rollouts a task has.

    Args:
        tasks: Rollouts, task by task.
        score_fn: A rollout's scores by name, `{"accuracy": reward}` by default; booleans count 0 and 1.
        answer_key: Field with the rollout's answer, None if it has none; adds `majority@k` and `no_answer`.

    Returns:
        The metrics, the scores of each rollout task by task, the names of the scores and the largest k. Keys:
        `pass@k/NAME`, `pass@1[avg-of-k]/NAME` and, with `answer_key`, `majority@k/NAME`; for k >= 2 also
        `pass@1[avg-of-k]/NAME/std_dev_across_runs` and `.../std_err_across_runs`; `per_sample_aggregate` has
        each score's mean over all first rollouts, all second rollouts and so on.
    """
    if not tasks:
        return {}, [], [], 0
    scores = [[_scores(rollout, score_fn, answer_key) for rollout in task] for task in tasks]
    names = sorted({name for task in scores for of_rollout in task for name in of_rollout})
    max_k = max(len(task) for task in tasks)
    metrics: dict[str, Any] = {}
    for k, name in product(range(1, max_k + 1), names):
        _put_mean(metrics, f"pass@{k}/{name}", [p for task in scores for p in _pass_at(k, name, task)])
        averages = [fmean(values) for task in scores if (values := _values(name, task[:k]))]
        _put_mean(metrics, f"pass@1[avg-of-{k}]/{name}", averages)
        if answer_key is not None:
            pairs = zip(tasks, scores, strict=True)
            votes = [_majority(name, task[:k], of_task[:k], answer_key) for task, of_task in pairs]
            _put_mean(metrics, f"majority@{k}/{name}", votes)
    by_run = ((name, list(_run_means(name, scores, max_k))) for name in names)
    metrics["per_sample_aggregate"] = {name: run_means for name, run_means in by_run if run_means}
    _add_spread(metrics, max_k)
    return metrics, scores, names, max_k


def compute_subset_metrics(
    tasks: Tasks, subset_key: str, score_fn: ScoreFunction | None = None, answer_key: str | None = None
) -> dict[str, Any]:
    """Compute the same metrics for each value of the field `subset_key`, as `VALUE/pass@k/NAME`.

    Tasks whose first rollout lacks the field, or has it empty, are left out.
    """
    subsets: dict[Any, list[Sequence[Rollout]]] = {}
    for task in tasks:
        if task and (value := task[0].get(subset_key)):
            subsets.setdefault(value, []).append(task)
    return {
        f"{subset}/{name}": value
        for subset, members in subsets.items()
        for name, value in compute_pass_majority_metrics(members, score_fn, answer_key)[0].items()
        if name != "per_sample_aggregate"
    }


def highest_k_metrics(
    agent_metrics: Mapping[str, Any],
    pattern: str,
    score_names: Sequence[str] | None = None,
    exclude_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Select the metrics of the largest k.

    Args:
        agent_metrics: Metrics as `compute_pass_majority_metrics` names them.
        pattern: Key up to the score's name, with `{k}` in it: `pass@{k}`, `pass@1[avg-of-{k}]`.
        score_names: Take only these scores.
        exclude_names: Leave these scores out, for instance `["no_answer"]`. Spreads are always left out.
    """
    key_form = re.compile(re.escape(pattern).replace(r"\{k\}", r"(\d+)") + "/(.+)")
    found: dict[int, dict[str, Any]] = {}
    for key, value in agent_metrics.items():
        match = key_form.fullmatch(key)
        if match is None or match[2].endswith(_SPREADS) or match[2] in (exclude_names or ()):
            continue
        if score_names is None or match[2] in score_names:
            found.setdefault(int(match[1]), {})[key] = value
    return found[max(found)] if found else {}


def add_avg_sample_std_dev(
    metrics: dict[str, Any],
    all_score_dicts: Sequence[Sequence[Scores]],
    score_names: Sequence[str],
    max_k: int,
) -> None:
    """Add `pass@1[avg-of-k]/NAME/avg_sample_std_dev`, the mean spread within a task, for each k >= 2."""
    for k in range(2, max_k + 1):
        for name in score_names:
            values = [_values(name, task[:k]) for task in all_score_dicts]
            spreads = [_deviation(of_task) for of_task in values if len(of_task) >= 2]
            if spreads:
                metrics[f"pass@1[avg-of-{k}]/{name}/avg_sample_std_dev"] = fmean(spreads)


def _scores(rollout: Rollout, score_fn: ScoreFunction | None, answer_key: str | None) -> Scores:
    raw = {"accuracy": rollout["reward"]} if score_fn is None else score_fn(rollout)
    scores = {name: int(value) if isinstance(value, bool) else value for name, value in raw.items()}
    if answer_key is not None:
        scores["no_answer"] = int(rollout.get(answer_key) is None)
    return scores


def _values(name: str, scores: Sequence[Scores]) -> list[float]:
    return [of_rollout[name] for of_rollout in scores if name in of_rollout]


def _deviation(values: Sequence[float]) -> float:
    mean = fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _put_mean(metrics: dict[str, Any], key: str, values: Sequence[float]) -> None:
    if values:
        metrics[key] = 100.0 * fmean(values)


def _pass_at(k: int, name: str, scores: Sequence[Scores]) -> Iterator[float]:
    """Yield the chance that one of k rollouts passes; nothing for a task with fewer than k."""
    values = _values(name, scores)
    if len(values) < k:
        return
    if any(value not in (0, 1) for value in values):
        yield max(values[:k])
        return
    # unbiased: one minus the share of all draws of k that hold wrong rollouts only
    yield 1.0 - math.comb(values.count(0), k) / math.comb(len(values), k)


def _majority(name: str, rollouts: Sequence[Rollout], scores: Sequence[Scores], answer_key: str) -> float:
    votes = Counter(
        (answer, of_rollout[name])
        for rollout, of_rollout in zip(rollouts, scores, strict=True)
        if (answer := rollout.get(answer_key)) is not None and name in of_rollout
    )
    if not votes:
        return 0.0
    most = max(votes.values())
    return fmean(score for (_, score), count in votes.items() if count == most)


def _run_means(name: str, scores: Sequence[Sequence[Scores]], max_k: int) -> Iterator[float]:
    for run in range(max_k):
        if values := _values(name, [task[run] for task in scores if run < len(task)]):
            yield 100.0 * fmean(values)


def _add_spread(metrics: dict[str, Any], max_k: int) -> None:
    for name, run_means in metrics["per_sample_aggregate"].items():
        for k in range(2, max_k + 1):
            if len(means := run_means[:k]) >= 2:
                deviation = _deviation(means)
                metrics[f"pass@1[avg-of-{k}]/{name}/std_dev_across_runs"] = deviation
                metrics[f"pass@1[avg-of-{k}]/{name}/std_err_across_runs"] = deviation / math.sqrt(len(means))
