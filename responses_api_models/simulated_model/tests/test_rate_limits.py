"""What a hosted API lets pass, and what it says about it."""

import pytest

from nemo_gym_lite.errors import EndpointError
from responses_api_models.simulated_model.rate_limits import RateGate, SlidingWindow, duration
from responses_api_models.simulated_model.settings import Limits

CHAT = "/v1/chat/completions"
BODY = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}


class Seconds:
    """A clock that is set by hand."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Seconds()


def gate(clock, **limits):
    return RateGate(Limits(**limits), clock)


def admitted(gate):
    try:
        gate.admit()
    except EndpointError:
        return False
    return True


def test_a_minute_slides_and_lets_one_pass_as_each_one_is_forgotten(clock):
    limited = gate(clock, requests_per_minute=3)
    for clock.now_s in (0.0, 10.0, 20.0):
        assert admitted(limited)

    passed = [at for at in range(21, 100) if not setattr(clock, "now_s", float(at)) and admitted(limited)]
    assert passed == [60, 70, 80]
    assert limited.refused == 79 - 3


def test_a_refusal_has_the_429_of_a_hosted_api_and_says_how_long_to_wait(clock):
    limited = gate(clock, requests_per_minute=2)
    limited.admit()
    clock.now_s = 20.0
    limited.admit()

    with pytest.raises(EndpointError, match=r"requests per min \(RPM\): Limit 2, Used 2, Requested 1") as refused:
        limited.admit()
    assert (refused.value.status, refused.value.retry_after_s) == (429, 40.0)
    assert limited.retry_headers(39.5) == {"Retry-After": "40", "retry-after-ms": "39500"}
    assert limited.headers() == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }


def test_requests_per_second_are_limited_without_headers_of_a_minute(clock):
    limited = gate(clock, requests_per_second=2)

    assert [admitted(limited) for _ in range(3)] == [True, True, False]
    assert limited.headers() is None
    clock.now_s = 1.0
    assert admitted(limited)


def test_tokens_are_estimated_first_and_counted_when_they_are_known(clock):
    limited = gate(clock, tokens_per_minute=100)
    estimated = limited.charge(80)
    with pytest.raises(EndpointError, match="TPM"):
        limited.charge(30)

    limited.settle(estimated, 20)
    limited.charge(80)
    assert limited.headers()["x-ratelimit-remaining-tokens"] == "0"
    clock.now_s = 60.0
    assert limited.headers()["x-ratelimit-remaining-tokens"] == "100"
    limited.settle(estimated, 50)  # after it was forgotten
    assert limited.headers()["x-ratelimit-remaining-tokens"] == "100"


def test_one_request_larger_than_the_limit_passes_alone():
    window = SlidingWindow(10, 60.0, "tokens")
    assert window.wait_s(50, 0.0) == 0.0
    window.take(50, 0.0)

    assert window.wait_s(1, 15.0) == 45.0


def test_headers_and_waits_are_left_out_where_the_settings_say_so(clock):
    limited = gate(clock, requests_per_minute=1, headers=False, retry_after=False)

    assert (limited.headers(), limited.retry_headers(5.0)) == (None, {})


def test_durations_are_written_as_openai_writes_them():
    assert [duration(seconds) for seconds in (0.017, 1.5, 59.0, 60.0, 90.5)] == [
        "17ms",
        "1.5s",
        "59s",
        "1m0s",
        "1m30.5s",
    ]


async def test_the_engine_enforces_limits_that_are_set_while_it_runs(engine, post, get):
    assert (await post("/simulator/limits", {"requests_per_minute": 2}))[0] == 200

    statuses = [(await post(CHAT, BODY))[0] for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    assert [status for _, _, status in engine.stats.arrivals.rows()] == statuses
    assert (engine.stats.completed, engine.limits.refused) == (2, 2)
    assert (await post("/simulator/limits", {"requests_per_fortnight": 2}))[0] == 400
    await post("/simulator/limits", {})
    assert (await post(CHAT, BODY))[0] == 200


async def test_replies_carry_what_remains(engine, http_post):
    engine.limits.load(Limits(requests_per_minute=5, tokens_per_minute=10_000))
    headers = (await http_post(CHAT, BODY))[1]

    assert headers["x-ratelimit-remaining-requests"] == "4"
    assert int(headers["x-ratelimit-remaining-tokens"]) < 10_000
    assert "Retry-After" not in headers
    engine.limits.load(Limits(requests_per_minute=1))
    await http_post(CHAT, BODY)
    status, headers = await http_post(CHAT, BODY)
    assert (status, headers["Retry-After"]) == (429, "60")
