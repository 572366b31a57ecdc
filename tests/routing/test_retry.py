"""What a failure means and how long a call waits: pure, with time and dice in hand."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_gym_lite.errors import EndpointError
from nemo_gym_lite.routing.retry import CallBudget, RetryPolicy, classify, parse_retry_after

URL = "http://engine/v1/chat/completions"
RNG = random.Random(0)


def failure(status, body=b"{}", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(URL, status, named, body, epoch_s=0.0)


def transport(failure_class):
    return EndpointError(failure_class, "broken", retryable=True)


@pytest.mark.parametrize(
    ("status", "failure_class", "retryable"),
    [
        (400, "bad_request", False),
        (401, "bad_request", True),
        (404, "bad_request", True),
        (408, "timeout", True),
        (413, "bad_request", False),
        (422, "bad_request", False),
        (429, "rate_limited", True),
        (500, "server_error", True),
        (503, "server_error", True),
        (529, "rate_limited", True),
    ],
)
def test_a_status_says_whether_the_same_request_may_succeed_later(status, failure_class, retryable):
    error = failure(status)

    assert (error.failure_class, error.retryable, error.status) == (failure_class, retryable, status)


def test_an_empty_account_is_not_waited_for():
    assert not failure(429, b'{"error": {"code": "insufficient_quota"}}').retryable


def test_the_message_names_the_endpoint_the_status_and_the_start_of_the_body_on_one_line():
    error = failure(500, b'{"error":\n  "EngineCore encountered an issue"}')

    assert error.message == f'{URL} answered 500: {{"error": "EngineCore encountered an issue"}}'
    assert len(failure(500, b"x" * 10_000).message) < 600


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:30 GMT"}, 90.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:30 -0000"}, 90.0),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_milliseconds_or_a_date(headers, seconds):
    assert parse_retry_after(headers, epoch_s=0.0) == seconds


def test_a_date_that_has_passed_means_now():
    assert parse_retry_after({"Retry-After": "Thu, 01 Jan 1970 00:01:30 GMT"}, epoch_s=1e9) == 0.0


@given(retry=st.integers(0, 10_000), seed=st.integers(0, 100))
def test_waits_are_jittered_and_never_longer_than_the_cap(retry, seed):
    policy = RetryPolicy(base_s=0.25, cap_s=8.0)

    assert 0.0 <= policy.wait_s(retry, None, random.Random(seed)) <= min(8.0, 0.25 * 2.0 ** min(retry, 30))


@given(seed=st.integers(0, 100))
def test_what_the_endpoint_asks_for_is_kept_in_full(seed):
    assert RetryPolicy().wait_s(0, 30.0, random.Random(seed)) >= 30.0


def test_a_call_gives_up_when_its_attempts_are_spent():
    budget = CallBudget(RetryPolicy(attempts=3), began_s=0.0)
    waits = [budget.next_wait_s(failure(500), 0.0, fresh=False, rng=RNG) for _ in range(3)]

    assert [wait is None for wait in waits] == [False, False, True]


def test_a_busy_endpoint_costs_an_attempt_and_no_wait_of_the_calls_own():
    budget = CallBudget(RetryPolicy(attempts=3, budget_s=60.0), began_s=0.0)
    waits = [budget.next_wait_s(failure(429), 0.0, fresh=False, rng=RNG) for _ in range(3)]

    assert waits == [0.0, 0.0, None]


def test_a_retry_after_beyond_the_budget_ends_the_call_at_once():
    budget = CallBudget(RetryPolicy(budget_s=600.0), began_s=0.0)

    assert budget.next_wait_s(failure(429, Retry_After="3600"), 0.0, fresh=False, rng=RNG) is None


@pytest.mark.parametrize("failure_class", ["unreachable", "reset", "timeout"])
def test_an_endpoint_not_yet_tried_is_asked_without_a_wait(failure_class):
    budget = CallBudget(RetryPolicy(), began_s=0.0)

    assert budget.next_wait_s(transport(failure_class), 0.0, fresh=True, rng=RNG) == 0.0


def test_an_endpoint_not_yet_tried_is_asked_even_when_everything_is_spent():
    budget = CallBudget(RetryPolicy(attempts=1, budget_s=600.0), began_s=0.0)

    assert budget.next_wait_s(transport("timeout"), 601.0, fresh=True, rng=RNG) == 0.0
    assert budget.next_wait_s(failure(500), 601.0, fresh=True, rng=RNG) is not None


def test_a_wrong_key_or_model_is_tried_elsewhere_and_not_again():
    budget = CallBudget(RetryPolicy(), began_s=0.0)

    assert budget.next_wait_s(failure(404), 0.0, fresh=True, rng=RNG) == 0.0
    assert budget.next_wait_s(failure(404), 0.0, fresh=False, rng=RNG) is None


def test_a_bad_request_is_never_sent_again():
    assert CallBudget(RetryPolicy(), 0.0).next_wait_s(failure(400), 0.0, fresh=True, rng=RNG) is None
