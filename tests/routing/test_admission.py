"""How many rollouts are let in, in simulated time: what engines with slots, caches and refusals make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_gym_lite.routing.admission import BACKOFF, COOL_S, EAGER, START, Admission, EngineReading
from nemo_gym_lite.routing.call_stats import CallStats
from tests.routing.simulated_load import Engine, Load, batched, steady

SLOTS = (4, 64, 512)


def best_of_fixed(make, seconds=60, **load):
    levels = (2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768)
    return max(Load(make(), limit=limit, **load).run(seconds).rate(seconds / 3) for limit in levels)


@pytest.mark.parametrize("slots", SLOTS)
@pytest.mark.parametrize("latency_s", [0.2, 2.0])
def test_every_size_of_engine_is_filled_from_the_same_start_and_never_flooded(slots, latency_s):
    load = Load([Engine(slots, steady(latency_s))]).run(60)

    assert load.history[0].limit == START
    assert load.rate(from_s=20) >= 0.95 * slots / latency_s
    assert load.longest_above(1.5 * slots) <= 3.0


@pytest.mark.parametrize("slots", SLOTS)
def test_a_minute_from_the_start_brings_nine_tenths_of_what_the_engine_can(slots):
    load = Load([Engine(slots, steady(0.5))]).run(60)

    assert load.delivered / 60 >= 0.9 * slots / 0.5


def test_the_limit_follows_when_half_the_slots_go_and_when_they_come_back():
    engine = Engine(64, steady(0.5))
    load = Load([engine]).run(30)
    engine.slots = 32
    load.run(30)

    assert load.longest_above(1.5 * 32, from_s=30) < 5.0
    assert load.rate(40, 60) >= 0.95 * 64

    engine.slots = 64
    load.run(30)
    assert load.rate(70, 90) >= 0.95 * 128


def test_more_than_the_slots_is_let_in_while_rollouts_are_busy_elsewhere():
    load = Load([Engine(64, steady(0.5))], elsewhere_s=1.0).run(60)

    assert load.rate(from_s=20) >= 0.95 * 128


def test_answers_that_take_longer_in_larger_batches_do_not_stop_the_growth():
    load = Load([Engine(256, batched(1.3, 0.018))]).run(200)

    assert load.limit >= 256


def test_four_engines_are_filled_together():
    load = Load([Engine(64, steady(0.5)) for _ in range(4)]).run(60)

    assert load.rate(from_s=20) >= 0.95 * 4 * 128
    assert max(load.limits(20)) <= 1.5 * 256


def test_a_stronger_engine_is_not_kept_idle_by_the_queue_of_a_weaker_one():
    load = Load([Engine(64, steady(0.5)), Engine(96, steady(0.5))]).run(60)

    assert load.rate(from_s=20) >= 0.95 * (128 + 192)


def test_a_cache_that_throws_work_away_costs_a_cut_or_two_and_is_kept_clear_of_afterwards():
    load = Load([Engine(512, steady(0.5), cache=100)]).run(110)

    cuts = [moment for moment in load.history if moment.why.endswith("answers") and "cools" not in moment.why]
    assert 1 <= len(cuts) <= 2
    assert load.rate(20, 110) >= 0.9 * best_of_fixed(lambda: [Engine(512, steady(0.5), cache=100)])
    preempted = load.engines[0].preemptions
    assert load.run(10).engines[0].preemptions == preempted


@pytest.mark.parametrize("slots", SLOTS)
def test_an_engine_that_tells_nothing_is_filled_by_its_results(slots):
    load = Load([Engine(slots, steady(0.5), tells=False)]).run(120)

    assert load.rate(from_s=60) >= 0.9 * slots / 0.5
    assert max(load.limits(60)) <= max(1.5 * slots, 2 * START)


def test_of_an_engine_that_tells_nothing_the_limit_follows_when_half_the_slots_go():
    engine = Engine(64, steady(0.5), tells=False)
    load = Load([engine]).run(60)
    engine.slots = 32
    load.run(60)

    assert load.rate(80, 120) >= 0.9 * 64
    assert max(load.limits(80)) <= 1.5 * 32


def test_an_interface_that_refuses_is_used_up_to_its_limit():
    make = lambda: [Engine(512, steady(0.5), tells=False, refuses_beyond=100)]  # noqa: E731
    load = Load(make()).run(120)

    assert load.rate(from_s=20) >= 0.9 * best_of_fixed(make)
    refused = load.calls.rate_limited
    load.run(60)
    assert load.calls.rate_limited - refused <= 0.1 * 60 * 200


def test_a_collector_whose_time_goes_elsewhere_is_not_flooded():
    """A check that takes a second of the only core there is: more in flight only makes a longer queue for it."""
    checks = Engine(8, steady(1.0), tells=False)
    load = Load([checks]).run(120)

    assert max(load.limits(0)) <= 4 * 8


def told(admission, seconds, now_s=0.0, *, done=0, refused=0, in_flight=None, **engine):
    """Look every second; returns the limits."""
    limits = []
    calls = CallStats()
    for second in range(seconds):
        calls.answered += done
        calls.rate_limited += refused
        reading = EngineReading(**{"running": 0, "waiting": 0, "cache_use": 0.0, "preemptions": 0, **engine})
        in_flight_now = admission.limit if in_flight is None else in_flight
        admission.sensed({"a": reading}, calls, in_flight_now, now_s + second)
        limits.append(admission.limit)
    return limits


def test_growth_is_paced_by_completions():
    assert told(Admission(1, 1000), 5, done=0, running=8) == [START] * 5
    assert told(Admission(1, 1000), 3, done=2, running=8) == [START + 8, START + 16, START + 24]
    assert told(Admission(1, 1000), 3, done=2, running=8, cache_use=0.3) == [START + 2, START + 4, START + 6]
    assert told(Admission(1, 1000), 3, done=10**6, running=8) == [2 * START, 4 * START, 8 * START]


def test_what_is_not_used_does_not_grow():
    assert told(Admission(1, 1000), 5, done=100, running=8, in_flight=START // 2) == [START] * 5


def test_the_limit_stays_below_the_most_allowed():
    assert told(Admission(1, 20), 5, done=100, running=8)[-1] == 20
    assert Admission(4, 3).limit == 3


def test_a_queue_that_is_gone_after_a_second_is_no_reason_to_let_in_fewer():
    admission = Admission(1, 1000)
    calls = CallStats()
    for second in range(6):
        queue = 8 if second % 2 else 0
        admission.sensed({"a": EngineReading(8, queue, 0.0, 0)}, calls, START, second)

    assert admission.limit == START


def test_metrics_that_do_not_come_any_more_freeze_growth_and_after_a_minute_results_lead():
    admission = Admission(2, 1000)
    calls = CallStats()
    reading = EngineReading(8, 0, 0.0, 0)
    admission.sensed({"a": reading, "b": reading}, calls, 16, 0.0)
    for second in range(1, 59):
        calls.answered += 100
        admission.sensed({"a": reading, "b": None}, calls, admission.limit, second)

    assert (admission.limit, admission.why) == (16, "an engine's metrics are stale")

    for second in range(59, 70):
        calls.answered += 100
        admission.sensed({"a": reading, "b": None}, calls, admission.limit, second)
    assert admission.limit > 16


def test_an_endpoint_that_left_is_not_waited_for():
    admission = Admission(2, 1000)
    reading = EngineReading(8, 0, 0.0, 0)
    calls = CallStats(answered=0)
    admission.sensed({"a": reading, "b": reading}, calls, 16, 0.0)
    calls.answered = 16
    admission.sensed({"a": reading}, calls, 16, 1.0)

    assert admission.limit == 32


def test_one_episode_of_refusals_is_one_cut_and_where_it_was_is_remembered():
    admission = Admission(1, 1000)
    told(admission, 4, done=100, running=100)
    before = admission.limit
    calls = CallStats(answered=400)
    limits = []
    for second in range(4, 100):
        calls.rate_limited += 50 if second < 8 else 0
        calls.answered += 100
        admission.sensed({"a": EngineReading(100, 0, 0.0, 0)}, calls, admission.limit, second)
        limits.append(admission.limit)

    assert limits[:5] == [int(BACKOFF * before)] * 5
    assert max(limits) == int(0.95 * before)


def test_refusals_that_no_cut_makes_fewer_do_not_end_at_one_rollout():
    admission, calls, limits = Admission(1, 1000), CallStats(), []
    for second in range(120):  # a third is refused, whatever is in flight
        calls.answered += 2 * admission.limit
        calls.rate_limited += admission.limit
        admission.sensed({"a": None}, calls, admission.limit, float(second))
        limits.append(admission.limit)

    assert limits[-1] > limits[0]
    assert min(limits[60:]) >= 4


def test_the_odd_refusal_is_no_trouble():
    admission = Admission(1, 64)

    assert told(admission, 30, done=95, refused=5, running=64)[-1] == 64


def test_an_engine_that_was_restarted_has_preempted_nothing_anew():
    admission = Admission(1, 1000)
    told(admission, 1, running=8, preemptions=500)
    told(admission, 3, 1.0, running=8, preemptions=2)

    assert admission.limit == START


def test_rollouts_count_where_no_calls_are_seen():
    admission = Admission(1, 1000)
    calls = CallStats()
    for look in range(60):
        for _ in range(admission.limit):
            admission.ended()
        admission.sensed({}, calls, admission.limit, float(look))

    assert admission.limit > 4 * START


looks = st.lists(
    st.tuples(
        st.integers(0, 600),  # running
        st.integers(0, 600),  # waiting
        st.floats(0, 1),  # cache use
        st.integers(0, 50),  # preemptions
        st.integers(0, 2000),  # answers
        st.integers(0, 200),  # refusals
        st.floats(0, 1.5),  # share of the limit in flight
        st.sampled_from(["tells", "tells", "tells", "silent"]),
    ),
    max_size=80,
)


@given(looks, st.integers(1, 8), st.integers(1, 2000))
def test_whatever_is_sensed_the_limit_keeps_its_rules(looks, endpoints, most):
    admission = Admission(endpoints, most)
    calls = CallStats()
    now_s, preemptions, cut_s = 0.0, 0, -100.0
    for running, waiting, cache_use, preempted, answers, refusals, share, tells in looks:
        preemptions += preempted
        calls.answered += answers
        calls.rate_limited += refusals
        before = admission.limit
        reading = EngineReading(running, waiting, cache_use, preemptions) if tells == "tells" else None
        heard = admission.why
        admission.sensed({"a": reading}, calls, int(share * before), now_s)

        assert min(endpoints, most) <= admission.limit <= most
        assert admission.limit <= 2 * before, "doubled at most"
        assert admission.limit - before <= EAGER * answers or reading is None or "engines" not in admission.why
        assert tells == "tells" or admission.limit <= before or "metrics" not in admission.why
        if admission.why.endswith("answers") and "cools" not in admission.why and admission.why != heard:
            assert now_s - cut_s >= COOL_S
            cut_s = now_s
        assert 0 < admission.interval_s <= 1.0
        now_s += admission.interval_s
