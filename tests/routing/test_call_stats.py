"""Counts of requests add up, whoever counted them."""

import random

from nemo_gym_lite.routing.call_stats import LATENCY_BOUNDS_S, CallStats


def counted(*latencies_s, failures=()):
    stats = CallStats()
    for latency_s in latencies_s:
        stats.add(latency_s, {"prompt_tokens": 10, "completion_tokens": 2})
    for failure_class in failures:
        stats.add_failure(failure_class, busy=failure_class == "rate_limited")
    return stats


def test_usage_of_both_dialects_is_summed_and_missing_usage_counts_nothing():
    stats = counted(0.1)
    stats.add(0.1, {"input_tokens": 5, "output_tokens": None})
    stats.add(0.1, None)

    assert (stats.answered, stats.input_tokens, stats.output_tokens) == (3, 15, 2)


def test_every_latency_falls_into_exactly_one_bucket_whose_bound_it_does_not_exceed():
    stats = counted(0.0, 0.001, 0.0011, 5.0, 1000.0, 1e9)

    assert sum(stats.latencies) == 6
    assert stats.latencies[0] == 2
    assert stats.latencies[1] == 1
    assert stats.latencies[-1] == 1
    assert sorted(LATENCY_BOUNDS_S) == list(LATENCY_BOUNDS_S)


def test_merged_counts_equal_those_of_one_counter_that_saw_everything():
    rng = random.Random(0)
    parts = [[rng.expovariate(1.0) for _ in range(50)] for _ in range(3)]
    failures = ["reset", "rate_limited", "rate_limited"]
    total = CallStats()
    for part in parts:
        total.merge(counted(*part, failures=failures))
    seen = counted(*(latency_s for part in parts for latency_s in part), failures=failures * 3)

    assert total.latencies == seen.latencies
    assert total.failed == seen.failed == {"reset": 3, "rate_limited": 6}
    assert total.rate_limited == 6
    assert abs(total.mean_latency_s() - seen.mean_latency_s()) < 1e-9
