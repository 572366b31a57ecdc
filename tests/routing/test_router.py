"""Model calls over real sockets to endpoints that fail in every way they do."""

import asyncio
import email.utils
import time

import pytest

from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import EndpointError, NoHealthyEndpointError
from nemo_gym_lite.routing.limiter import Size
from nemo_gym_lite.routing.retry import RetryPolicy

from .conftest import answer, half_body, hang, not_http, reset, status

PATH = "/chat/completions"
NOT_JSON = status(200, "<html>gateway</html>")
ERROR_BODY = status(200, '{"error": {"message": "overloaded", "code": 500}}')
NO_CHOICES = status(200, '{"choices": []}')
ABORTED = status(200, '{"choices": [{"message": {"content": "half a"}, "finish_reason": "abort"}]}')

PASSING = [
    reset,
    half_body,
    not_http,
    NOT_JSON,
    ERROR_BODY,
    NO_CHOICES,
    status(500),
    status(503),
    status(429),
]


def text(reply):
    return reply["choices"][0]["message"]["content"]


async def ask(router, session_id="s1", **body):
    return text(await router.call(session_id, PATH, {"messages": [], **body}))


async def failure_of(router, session_id="s1"):
    with pytest.raises((EndpointError, NoHealthyEndpointError)) as caught:
        await ask(router, session_id)
    return caught.value


ONCE = RetryPolicy(attempts=1)


async def test_the_body_and_the_session_reach_the_endpoint(start, route):
    engine = await start()
    await ask(route(engine.base_url), "episode-1", model="tiny")

    assert engine.bodies == [{"messages": [], "model": "tiny"}]
    assert engine.sessions == ["episode-1"]
    assert engine.headers[0]["Content-Type"] == "application/json"


async def test_a_body_of_many_megabytes_arrives_whole_again_and_again(start, route):
    engine = await start()
    engine.script = [status(500)]
    text_of_5_mb = "x" * 5_000_000
    await ask(route(engine.base_url), text=text_of_5_mb)

    assert [body["text"] == text_of_5_mb for body in engine.bodies] == [True, True]


@pytest.mark.parametrize(
    ("behaviour", "failure_class"),
    [
        (reset, "reset"),
        (half_body, "reset"),
        (not_http, "bad_reply"),
        (NOT_JSON, "bad_reply"),
        (ERROR_BODY, "bad_reply"),
        (NO_CHOICES, "bad_reply"),
        (ABORTED, "bad_reply"),
        (status(500), "server_error"),
        (status(503), "server_error"),
        (status(429), "rate_limited"),
        (status(404), "bad_request"),
        (status(400), "bad_request"),
    ],
)
async def test_each_way_to_fail_has_its_class(start, route, behaviour, failure_class):
    engine = await start()
    engine.always = behaviour
    policy = RetryPolicy(attempts=1, budget_s=0.0)

    assert (await failure_of(route(engine.base_url, policy=policy))).failure_class == failure_class


async def test_an_endpoint_that_never_answers_is_a_timeout(start, route):
    engine = await start()
    engine.always = hang
    router = route(engine.base_url, policy=ONCE, deadlines=Deadlines(call_s=0.1))

    assert (await failure_of(router)).failure_class == "timeout"


async def test_a_port_nobody_listens_on_is_unreachable_and_fails_when_patience_ends(route, dead_url):
    error = await failure_of(route(dead_url, patience_s=0.05))

    assert (type(error), error.failure_class) == (NoHealthyEndpointError, "unreachable")
    assert dead_url in error.message


@pytest.mark.parametrize("behaviour", [*PASSING, ABORTED])
async def test_a_failure_is_made_good_by_the_same_endpoint_if_it_is_the_only_one(start, route, behaviour):
    engine = await start()
    engine.script = [behaviour, behaviour]

    assert await ask(route(engine.base_url)) == "hello"
    assert engine.calls == 3


@pytest.mark.parametrize("behaviour", [*PASSING, status(404), hang])
async def test_no_call_is_lost_while_one_endpoint_is_healthy(start, route, dead_url, behaviour):
    broken, healthy = await start(), await start()
    broken.always = behaviour
    urls = (broken.base_url, healthy.base_url, dead_url)
    router = route(*urls, policy=ONCE, deadlines=Deadlines(call_s=1.0 if behaviour is hang else 30.0))
    replies = await asyncio.gather(*(ask(router, f"s{n}") for n in range(50)))

    assert replies == ["hello"] * 50
    assert healthy.calls == 50


async def test_a_dead_endpoint_costs_no_wait(start, route, dead_url):
    engine = await start()
    router = route(dead_url, engine.base_url, policy=RetryPolicy(base_s=1000.0, cap_s=1000.0))
    began = time.monotonic()
    for n in range(5):
        await ask(router, f"s{n}")

    assert time.monotonic() - began < 1.0


async def test_a_bad_request_is_sent_once(start, route):
    engine, other = await start(), await start()
    engine.always = other.always = status(400, '{"error": {"message": "bad role"}}')
    error = await failure_of(route(engine.base_url, other.base_url))

    assert engine.calls + other.calls == 1
    assert "bad role" in error.message
    assert b"bad role" in error.body


async def test_a_call_gives_up_after_its_attempts_and_says_how_many(start, route):
    engine = await start()
    engine.always = status(500)
    error = await failure_of(route(engine.base_url, policy=RetryPolicy(attempts=4)))

    assert engine.calls == 4
    assert "4 requests" in str(error)


async def test_a_sole_endpoint_that_fails_one_time_in_three_serves_every_call(start, route):
    engine = await start()
    engine.script = [status(500) if n % 3 == 0 else answer() for n in range(300)]
    router = route(engine.base_url)
    began = time.monotonic()
    await asyncio.gather(*(ask(router, f"s{n}") for n in range(200)))

    assert engine.calls >= 299
    assert time.monotonic() - began < 5.0


async def test_retry_after_in_seconds_sends_the_request_elsewhere_and_pauses_the_endpoint(start, route):
    busy, free = await start(), await start()
    busy.always = status(429, Retry_After="3600")
    router = route(busy.base_url, free.base_url)
    await asyncio.gather(*(ask(router, f"s{n}") for n in range(4)))
    heard = busy.calls
    await asyncio.gather(*(ask(router, f"t{n}") for n in range(20)))

    assert 1 <= heard <= 2
    assert busy.calls == heard


async def test_retry_after_as_a_date_is_waited_for(start, route):
    engine = await start()
    date = email.utils.formatdate(time.time() + 61.0, usegmt=True)  # 0.6 s by the fast clock
    engine.script = [status(429, Retry_After=date)]
    router = route(engine.base_url)
    call = asyncio.ensure_future(ask(router))
    await asyncio.sleep(0.4)

    assert engine.calls == 1
    assert await call == "hello"


async def test_a_session_stays_on_its_endpoint_through_all_turns(start, route):
    engines = [await start() for _ in range(4)]
    router = route(*(engine.base_url for engine in engines))
    for _ in range(5):
        await asyncio.gather(*(ask(router, f"s{n}") for n in range(16)))

    assert [engine.calls for engine in engines] == [20] * 4
    assert all(len(set(engine.sessions)) == 4 for engine in engines)


async def test_a_session_that_ended_leaves_no_trace(start, route):
    engine = await start()
    router = route(engine.base_url)
    await ask(router)
    router.end_session("s1")

    assert repr(router.pool) == f"<EndpointPool <{engine.base_url} up in_flight=0 sessions=0>>"


async def test_a_cancelled_call_hands_its_endpoint_back(start, route):
    engine = await start()
    engine.always = hang
    router = route(engine.base_url)
    call = asyncio.ensure_future(ask(router))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert router.pool.states[0].in_flight == 0


async def test_an_endpoint_that_comes_back_is_used_again(start, route):
    engine, other = await start(), await start()
    engine.script = [reset] * 5
    router = route(engine.base_url, other.base_url, breaker={"trip_after": 1, "rest_s": 0.01})
    for n in range(50):
        await ask(router, f"s{n}")
        await asyncio.sleep(0.002)

    assert engine.script == []
    assert engine.calls > 10
    assert not router.pool.states[0].breaker.down


async def test_calls_beyond_the_limit_wait_for_their_turn(start, route):
    engine = await start()
    active, most = 0, 0

    async def count(request):
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.01)
        active -= 1
        return await answer()(request)

    engine.always = count
    router = route(engine.base_url, max_in_flight=3)
    await asyncio.gather(*(ask(router, f"s{n}") for n in range(20)))

    assert most == 3


class CountingLimiter:
    """Admits at once, or when the test says so, and notes what it is told."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.admitted: list[Size] = []
        self.settled: list[tuple] = []
        self.withdrawn = 0

    async def admit(self, size):
        await self.gate.wait()
        self.admitted.append(size)
        return len(self.admitted)

    def settle(self, ticket, tokens, headers):
        self.settled.append((ticket, tokens, dict(headers).get("x-ratelimit-limit-requests")))

    def withdraw(self, ticket):
        self.withdrawn += 1


async def test_every_request_is_admitted_by_the_limiter_and_settled_with_its_usage_and_headers(start, route):
    engine, limiter = await start(), CountingLimiter()
    engine.script = [status(429, x_ratelimit_limit_requests="60"), reset, answer(usage={"total_tokens": 7})]
    router = route(engine.base_url, limiter=limiter)
    await ask(router)

    assert limiter.settled == [(1, 0, "60"), (2, None, None), (3, 7, None)]
    assert limiter.admitted[0].prompt_tokens > 0


async def test_a_call_that_is_cancelled_while_the_limiter_holds_it_hands_its_endpoint_back(start, route):
    engine, limiter = await start(), CountingLimiter()
    limiter.gate.clear()
    router = route(engine.base_url, limiter=limiter)
    call = asyncio.ensure_future(ask(router))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert engine.calls == 0
    assert router.pool.states[0].in_flight == 0


async def test_a_pause_that_begins_while_the_limiter_holds_a_request_is_kept(start, route):
    engine, limiter = await start(), CountingLimiter()
    router = route(engine.base_url, limiter=limiter)
    limiter.gate.clear()
    calls = [asyncio.ensure_future(ask(router, f"s{n}")) for n in range(5)]
    await asyncio.sleep(0.02)
    router.pool.states[0].window.pause_until_s = router._clock.now() + 20.0
    limiter.gate.set()
    await asyncio.sleep(0)

    assert engine.calls == 0
    assert await asyncio.gather(*calls) == ["hello"] * 5
    assert limiter.withdrawn >= 5
