"""What takes an endpoint out and what brings it back; pure, with time by hand."""

from nemo_gym_lite.errors import EndpointError
from nemo_gym_lite.routing.breaker import REMEMBERED, Breaker, BreakerPolicy


def failure(failure_class="server_error", status=500):
    return EndpointError(failure_class, "it failed", retryable=True, status=status)


def fail(breaker, error=None, took_s=0.0, now_s=0.0, others_open=True):
    return breaker.fail(error or failure(), took_s, now_s, others_open=others_open)


def test_every_other_request_that_fails_is_enough_once_twenty_outcomes_are_known():
    breaker = Breaker(BreakerPolicy(trip_after=3, trip_rate=0.5))
    tripped = []
    for _ in range(REMEMBERED):
        breaker.succeed()
        tripped.append(fail(breaker))

    assert tripped.index(True) == REMEMBERED // 2 - 1


def test_failures_below_the_rate_never_take_an_endpoint_out():
    breaker = Breaker()
    for n in range(1000):
        if n % 3:
            breaker.succeed()
        else:
            assert not fail(breaker)


def test_the_failures_before_an_outage_are_not_held_against_an_endpoint_that_is_back():
    breaker = Breaker()
    while not fail(breaker):
        pass
    assert breaker.succeed()

    assert not fail(breaker)
    assert not breaker.down


def test_a_failed_probe_opens_the_breaker_anew_and_an_answered_one_closes_it():
    breaker = Breaker()
    fail(breaker, failure("unreachable", None))
    assert not breaker.lets_in(0.4)
    assert breaker.lets_in(0.5)
    breaker.send(0.5)
    assert not breaker.lets_in(0.6)

    assert fail(breaker, now_s=0.6)
    assert not breaker.lets_in(1.5)
    breaker.send(1.6)
    assert breaker.succeed()
    assert breaker.lets_in(1.6)


def test_a_probe_that_hangs_is_not_trusted_where_the_endpoint_had_gone_silent():
    breaker = Breaker()
    fail(breaker, failure("timeout", None))
    fail(breaker, failure("timeout", None))
    fail(breaker, failure("timeout", None))
    breaker.send(10.0)

    assert not breaker.lets_in(1000.0)
    breaker.withdraw()
    assert breaker.lets_in(1000.0)
