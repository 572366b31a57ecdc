"""Aggregates of rollouts by arm, in a few bytes a rollout, and the comparison of each two arms."""

import math
from array import array
from collections.abc import Iterator, Mapping
from itertools import combinations
from statistics import fmean
from typing import Any

from nemo_gym_lite.arms.arm import ARM, ARM_LABEL
from nemo_gym_lite.arms.comparison import METHOD, SOURCE, chance_of_k, paired_difference
from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.columns import Column
from nemo_gym_lite.rollouts.fingerprints import FingerprintTable, fingerprint

_TOKENS = ("input_tokens", "output_tokens")


class _Plays:
    """The rollouts of one arm: their tasks, rewards and tokens."""

    def __init__(self) -> None:
        self.number = 0
        self.tasks = array("I")
        self.rewards = Column()
        self.tokens = dict.fromkeys(_TOKENS, 0.0)

    def add(self, task: int, reward: float, usage: Mapping[str, Any]) -> None:
        self.rewards.put(len(self.tasks), reward)
        self.tasks.append(task)
        for name in _TOKENS:
            self.tokens[name] += usage.get(name) or 0

    def by_task(self) -> dict[int, list[float]]:
        """Rewards of each task."""
        found: dict[int, list[float]] = {}
        for task, reward in zip(self.tasks, self.rewards, strict=True):
            found.setdefault(task, []).append(reward)
        return found


class ArmMetrics:
    """Takes in the scored rollouts of one agent and sums them up by arm; rows without an arm are passed over."""

    def __init__(self) -> None:
        self._tasks = FingerprintTable()
        self._plays: dict[tuple[str, str], _Plays] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a scored row in."""
        label, reward = row[ARM_LABEL], row.get("reward")
        if not isinstance(label, dict) or not isinstance(reward, int | float) or not math.isfinite(reward):
            return
        plays = self._plays.setdefault((str(row.get(ARM)), str(label.get("says"))), _Plays())
        plays.number = label.get("number", 0)
        task = self._tasks.number(fingerprint(str(label.get("task")).encode()))
        plays.add(task, reward, row.get("usage") or {})

    def summary(self) -> Json:
        """`arms`, in the order of their file, and `arm_comparisons`, each later one with each earlier; empty if no row
        has an arm. An arm that was changed between runs is two: its first eight hash digits are behind its name.
        """
        ordered = sorted(self._plays.items(), key=lambda item: item[1].number)
        names = [name for (name, _), _ in ordered]
        told, means = [], {}
        for (name, says), plays in ordered:
            shown = name if names.count(name) == 1 else f"{name}@{says[:8]}"
            rewards = plays.by_task()
            means[shown] = {task: fmean(values) for task, values in rewards.items()}
            told.append(_arm(shown, plays, rewards))
        if not told:
            return {}
        pairs = [_pair(other, means[other], base, means[base]) for base, other in combinations(means, 2)]
        return {"arms": told, "arm_comparisons": {"method": METHOD, "source": SOURCE, "pairs": pairs}}


def _arm(name: str, plays: _Plays, rewards: Mapping[int, list[float]]) -> Json:
    count, most = len(plays.tasks), max(map(len, rewards.values()))
    told: Json = {"arm": name, "tasks": len(rewards), "rollouts": count, "mean/reward": plays.rewards.sum / count}
    for k in _ks(most):
        enough = [values for values in rewards.values() if len(values) >= k]
        told[f"pass@{k}/reward"] = 100.0 * fmean(chance_of_k(k, values) for values in enough)
    return told | {f"mean/{name}": tokens / count for name, tokens in plays.tokens.items()}


def _ks(most: int) -> Iterator[int]:
    """Powers of two up to `most`, and `most`."""
    yield from (1 << power for power in range(most.bit_length()) if 1 << power < most)
    yield most


def _pair(name: str, means: Mapping[int, float], base: str, others: Mapping[int, float]) -> Json:
    both = [task for task in means if task in others]
    pair: Json = {"arm": name, "baseline": base, "tasks": len(both), "difference": None, "ci95": None}
    if both:
        difference, interval = paired_difference([means[task] for task in both], [others[task] for task in both])
        pair |= {"difference": difference, "ci95": interval}
    return pair
