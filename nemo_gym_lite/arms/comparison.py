"""How far apart two arms are, from tasks that both played, and how sure that is."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

METHOD = "paired differences of per-task mean rewards, Student's t interval over tasks, 95 %"
SOURCE = "Miller 2024, Adding Error Bars to Evals, arXiv:2411.00640, section on paired differences"


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Mean difference of two arms and its 95 % confidence interval, None with fewer than two tasks.

    Both give the mean reward of each of the same tasks; the difference is positive where `ours` is better.
    """
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    mean = fmean(differences)
    if len(differences) < 2:
        return mean, None
    half = t_quantile(len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))
    return mean, (mean - half, mean + half)


def t_quantile(freedom: int, probability: float = 0.975) -> float:
    """Quantile of Student's t: exact for 1 and 2 degrees of freedom, else Abramowitz and Stegun 26.7.5 (within 1 %)."""
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) * math.sqrt(2 / (4 * probability * (1 - probability)))
    z: float = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / float(freedom) ** power for power, term in enumerate(terms, 1))


def chance_of_k(k: int, rewards: Sequence[float]) -> float:
    """The best reward of k rollouts, on average over all draws of k from a task's; with rewards of 0 and 1 this is
    the unbiased pass@k (Chen et al. 2021, arXiv:2107.03374).
    """
    draws = math.comb(len(rewards), k)
    return sum(reward * math.comb(rank, k - 1) / draws for rank, reward in enumerate(sorted(rewards)) if rank >= k - 1)
