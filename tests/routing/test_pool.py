"""What a rollout may rely on when it asks for an endpoint; time by hand."""

import asyncio
import random
from collections import Counter

import pytest

from nemo_gym_lite.errors import EndpointError, NoHealthyEndpointError
from nemo_gym_lite.routing import homes
from nemo_gym_lite.routing.pool import EndpointPool

from .conftest import settle

A, B = "http://a/v1", "http://b/v1"


def error(failure_class="server_error", status=500, retryable=True, retry_after_s=None):
    return EndpointError(failure_class, "it failed", retryable=retryable, status=status, retry_after_s=retry_after_s)


UNREACHABLE = error("unreachable", None)


@pytest.fixture
def pool(clock):
    return EndpointPool([A, B], clock, rng=random.Random(0))


@pytest.fixture
def sole(clock):
    return EndpointPool([A], clock, rng=random.Random(0))


async def send(pool, session_id, failure=None):
    """One request of a session, answered or failed; returns the base URL it went to."""
    state = await pool.acquire(session_id)
    if failure is None:
        pool.succeeded(state)
    else:
        pool.failed(session_id, state, failure)
    return state.base_url


async def take_down(pool, url, failure=UNREACHABLE):
    """Fail requests until the endpoint is out."""
    state = next(s for s in pool.states if s.base_url == url)
    while not state.breaker.down:
        state.in_flight += 1
        pool.failed("outage", state, failure)
    return state


async def test_every_turn_of_a_session_reaches_the_same_endpoint(pool):
    first = await send(pool, "s1")
    await send(pool, "s2")

    assert [await send(pool, "s1") for _ in range(5)] == [first] * 5


async def test_sessions_spread_evenly_over_the_endpoints(clock):
    pool = EndpointPool([f"http://{n}" for n in range(8)], clock)
    homes = Counter([await send(pool, f"s{n}") for n in range(64)])

    assert set(homes.values()) == {8}


async def test_a_new_session_starts_where_the_fewest_requests_are_in_flight(pool):
    busy = await pool.acquire("long")

    assert {await send(pool, f"s{n}") for n in range(10)} == {A, B} - {busy.base_url}


async def test_equal_endpoints_are_chosen_by_chance(clock):
    first = {await send(EndpointPool([A, B], clock, rng=random.Random(seed)), "s") for seed in range(20)}

    assert first == {A, B}


async def test_finished_sessions_are_forgotten(pool):
    for n in range(1000):
        await send(pool, f"s{n}")
        pool.end_session(f"s{n}")
    pool.end_session("never seen")

    assert len(pool._homes) == 0
    assert [state.sessions for state in pool.states] == [0, 0]


async def test_sessions_that_never_end_are_forgotten_by_age(pool, monkeypatch):
    monkeypatch.setattr(homes, "KEPT", 10)
    for n in range(100):
        await send(pool, "in use")
        await send(pool, f"s{n}")

    assert len(pool._homes) == 10
    assert pool._homes.of("in use")
    assert sum(state.sessions for state in pool.states) == 10


async def test_a_failed_session_moves_and_stays_where_it_went(pool, clock):
    home = await send(pool, "s1", error())
    state = next(s for s in pool.states if s.base_url == home)
    moved = (await pool.acquire("s1", avoid={state})).base_url

    assert moved != home
    assert [await send(pool, "s1") for _ in range(3)] == [moved] * 3


async def test_three_failures_in_a_row_take_an_endpoint_out(pool):
    down = await take_down(pool, A, error())

    assert down.breaker.failures == 3
    assert {await send(pool, f"s{n}") for n in range(10)} == {B}


async def test_one_success_resets_the_count_of_failures(pool):
    state = pool.states[0]
    for _ in range(10):
        for failure in (error(), error()):
            state.in_flight += 1
            pool.failed("s", state, failure)
        state.in_flight += 1
        pool.succeeded(state)

    assert not state.breaker.down


async def test_an_unreachable_endpoint_is_out_at_once(pool):
    home = await send(pool, "s1", UNREACHABLE)

    assert {await send(pool, f"s{n}") for n in range(10)} == {A, B} - {home}


async def test_a_wrong_key_takes_an_endpoint_out_only_while_another_is_open(pool, sole):
    denied = error("bad_request", 401)
    home = await send(pool, "s1", denied)
    await send(sole, "s1", denied)

    assert {await send(pool, f"s{n}") for n in range(5)} == {A, B} - {home}
    assert await send(sole, "s2") == A


async def test_a_bad_request_is_not_the_fault_of_the_endpoint(pool):
    home = await send(pool, "s1")
    for _ in range(5):
        await send(pool, "s1", error("bad_request", 400, retryable=False))

    assert await send(pool, "s1") == home


async def test_a_session_does_not_move_back_when_its_first_home_recovers(pool, clock):
    home = await send(pool, "s1")
    await take_down(pool, home)
    moved = await send(pool, "s1")
    clock.seconds += 10.0

    assert await send(pool, "new") == home
    assert await send(pool, "s1") == moved != home


async def test_after_its_rest_one_request_at_a_time_probes_an_endpoint(pool, clock):
    await take_down(pool, A)
    busy = await pool.acquire("s0")
    clock.seconds += 0.5
    probe = await pool.acquire("s1")
    others = [(await pool.acquire(f"t{n}")).base_url for n in range(5)]

    assert (busy.base_url, probe.base_url) == (B, A)
    assert others == [B] * 5

    pool.succeeded(probe)
    assert (await pool.acquire("s9")).base_url == A


@pytest.mark.parametrize(
    ("took_s", "expected"), [(0.0, [0.5, 1.0, 2.0, 2.0, 2.0]), (10.0, [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0])]
)
async def test_each_rest_is_twice_the_one_before_up_to_the_longest(pool, clock, took_s, expected):
    state = await take_down(pool, A)
    rests = [state.breaker.rest_until_s - clock.now()]
    for _ in expected[1:]:
        clock.seconds = state.breaker.rest_until_s
        probe = await pool.acquire("probe", avoid={pool.states[1]})
        assert probe is state
        pool.failed("probe", probe, UNREACHABLE, took_s)
        rests.append(state.breaker.rest_until_s - clock.now())

    assert rests == expected


async def test_an_endpoint_that_hangs_rests_the_longest_at_once(pool, clock):
    state = await take_down(pool, A, error("timeout", None))

    assert state.breaker.rest_until_s - clock.now() == 10.0


async def test_stragglers_do_not_lengthen_a_rest(pool, clock):
    for n in range(50):
        pool.states[0].in_flight += 1
        pool.failed(f"s{n}", pool.states[0], UNREACHABLE)

    assert pool.states[0].breaker.rest_until_s - clock.now() == 0.5


async def test_an_answer_to_an_older_request_brings_an_endpoint_back(pool):
    state = pool.states[0]
    state.in_flight += 1
    await take_down(pool, A)
    pool.succeeded(state)

    assert not state.breaker.down


async def test_a_cancelled_probe_lets_the_next_request_probe(sole, clock):
    await take_down(sole, A)
    clock.seconds += 0.5
    probe = await sole.acquire("s1")
    waiting = asyncio.ensure_future(sole.acquire("s2"))
    await settle()
    assert not waiting.done()

    sole.abandoned(probe)
    assert (await waiting).base_url == A


async def test_a_sole_endpoint_that_answers_stays_in_however_often_it_fails(sole):
    for n in range(100):
        assert await send(sole, f"s{n}", error()) == A

    assert not sole.states[0].breaker.down


async def test_the_last_endpoint_that_answers_stays_in(pool):
    await take_down(pool, A)
    for n in range(100):
        assert await send(pool, f"s{n}", error()) == B


async def test_a_session_takes_a_detour_while_its_home_asks_for_patience_and_comes_back(pool, clock):
    home = await send(pool, "s1")
    await send(pool, "s1", error("rate_limited", 429, retry_after_s=5.0))

    assert await send(pool, "s1") != home
    clock.seconds += 5.0
    assert await send(pool, "s1") == home


async def test_retry_after_holds_for_every_session_of_the_endpoint(sole, clock):
    await send(sole, "s1", error("rate_limited", 429, retry_after_s=5.0))
    other = asyncio.ensure_future(sole.acquire("s2"))

    await clock.advance(4.9)
    assert not other.done()
    await clock.advance(0.2)
    assert (await other).base_url == A


async def test_a_rate_limit_never_counts_as_a_failure(pool, clock):
    for _ in range(10):
        await send(pool, "s1", error("rate_limited", 429))
        clock.seconds += 10.0

    assert not any(state.breaker.down or state.breaker.failures for state in pool.states)


async def test_patience_does_not_run_out_while_an_endpoint_only_asks_for_time(sole, clock):
    await send(sole, "s1", error("rate_limited", 429, retry_after_s=90.0))
    waiting = asyncio.ensure_future(sole.acquire("s1"))
    await clock.advance(90.0)

    assert (await waiting).base_url == A


async def test_a_pause_that_outlasts_a_call_ends_it_when_its_time_is_up_and_not_before(sole, clock):
    await send(sole, "s1", error("rate_limited", 429, retry_after_s=3600.0))
    waiting = asyncio.ensure_future(sole.acquire("s1", until_s=clock.now() + 600.0))
    await clock.advance(599.0)
    assert not waiting.done()

    await clock.advance(1.0)
    with pytest.raises(NoHealthyEndpointError) as caught:
        await waiting
    assert caught.value.failure_class == "rate_limited"


async def test_requests_wait_for_an_outage_to_end_and_go_on_when_a_probe_succeeds(sole, clock):
    await take_down(sole, A)
    waiting = [asyncio.ensure_future(sole.acquire(f"s{n}")) for n in range(10)]
    await clock.advance(0.5)
    assert [task.done() for task in waiting].count(True) == 1

    sole.succeeded(next(task for task in waiting if task.done()).result())
    await settle()
    assert all(task.done() for task in waiting)


async def test_when_all_are_down_for_longer_than_the_patience_requests_fail_at_once(clock):
    pool = EndpointPool([A, B], clock, patience_s=0.4)
    for url in (A, B):
        await take_down(pool, url)
    waiting = [asyncio.ensure_future(pool.acquire(f"s{n}")) for n in range(3)]
    await clock.advance(0.39)
    assert not any(task.done() for task in waiting)

    await clock.advance(0.02)
    waiting.append(asyncio.ensure_future(pool.acquire("late")))
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [NoHealthyEndpointError] * 4
    assert errors[0].failure_class == "unreachable"
    assert set(errors[0].last_errors) == {A, B}


async def test_an_outage_longer_than_the_patience_still_ends_with_a_probe(sole, clock):
    await take_down(sole, A)
    clock.seconds += 3600.0
    assert await send(sole, "s1") == A

    assert [await send(sole, f"s{n}") for n in range(3)] == [A] * 3


async def test_a_waiting_request_that_is_cancelled_leaves_nothing_behind(sole, clock):
    await take_down(sole, A)
    waiting = asyncio.ensure_future(sole.acquire("s1"))
    await settle()
    waiting.cancel()
    await settle()

    assert sole._queue.first() is None
    assert sole._queue._alarm is None
    assert repr(sole) == "<EndpointPool <http://a/v1 down in_flight=0 sessions=0>>"


async def test_failures_are_logged_once_for_each_class_and_outages_when_they_begin_and_end(pool, caplog):
    for _ in range(5):
        await send(pool, "s1", error("reset", None))
        await send(pool, "s1")
    state = await take_down(pool, A)
    state.in_flight += 1
    pool.succeeded(state)

    texts = [record.getMessage() for record in caplog.records]
    assert sum("first reset" in text for text in texts) <= 2
    assert [text for text in texts if "http://a/v1 is" in text] == [
        "model endpoint http://a/v1 is out after it failed",
        "model endpoint http://a/v1 is back",
    ]


async def test_an_endpoint_that_flutters_does_not_fill_the_log(pool, clock, caplog):
    for _ in range(50):
        state = await take_down(pool, A)
        state.in_flight += 1
        pool.succeeded(state)
        clock.seconds += 1.0

    assert sum("is out" in record.getMessage() for record in caplog.records) == 1


async def test_after_a_refusal_few_requests_go_at_a_time_and_the_calls_that_began_first_go_first(sole, clock):
    leased = [await sole.acquire(f"s{n}") for n in range(20)]
    for n in range(19):
        sole.failed(f"s{n}", leased[n], error("rate_limited", 429))
    order = []

    async def wait(n):
        await sole.acquire(f"s{n}", until_s=clock.now() + 100.0 + n)
        order.append(n)

    waiting = [asyncio.ensure_future(wait(n)) for n in reversed(range(20))]
    await clock.advance(1.0)
    assert order == []  # one is still out, and the endpoint took one

    sole.succeeded(leased[19])
    await settle()
    assert order == [0]
    while len(order) < 20:
        sole.succeeded(leased[0])
        await settle()
    assert order == list(range(20))
    await asyncio.gather(*waiting)


async def test_a_session_leaves_an_endpoint_that_is_overloaded_past_the_margin_and_none_within(clock):
    pool = EndpointPool([A, B], clock, margin=4, rng=random.Random(0))
    home = await pool.acquire("s1")
    home.in_flight = 4
    assert await send(pool, "s1") == home.base_url

    home.in_flight = 5
    moved = await send(pool, "s1")
    assert moved != home.base_url
    home.in_flight = 0
    assert await send(pool, "s1") == moved


async def test_sessions_do_not_move_to_an_endpoint_that_is_out_or_asks_for_patience(pool, clock):
    home = await pool.acquire("s1")
    home.in_flight = 100
    other = next(state for state in pool.states if state is not home)
    other.window.limit = 5.0
    assert await send(pool, "s1") == home.base_url

    other.window.limit = float("inf")
    await take_down(pool, other.base_url)
    clock.seconds += 5.0
    assert await send(pool, "s1") == home.base_url


async def test_an_endpoint_that_joins_gets_requests_and_one_that_leaves_gets_none_but_is_waited_for(pool, clock):
    held = await pool.acquire("s1")
    stays = A if held.base_url == B else B
    pool.update([stays, "http://c/v1"])

    assert {await send(pool, f"t{n}") for n in range(20)} == {stays, "http://c/v1"}
    assert await send(pool, "s1") != held.base_url
    assert [each.state for each in pool.snapshot()] == ["up", "up", "leaving"]
    pool.succeeded(held)
    assert [each.base_url for each in pool.snapshot()] == [stays, "http://c/v1"]


async def test_requests_that_wait_for_the_last_endpoint_go_to_one_that_joins(sole, clock):
    await take_down(sole, A)
    waiting = asyncio.ensure_future(sole.acquire("s1"))
    await settle()
    sole.update([A, B])

    assert (await waiting).base_url == B


async def test_a_probe_that_was_accepted_where_connections_were_refused_brings_the_endpoint_back_before_it_answers(
    pool, clock
):
    await take_down(pool, A)
    other = await pool.acquire("s0")
    clock.seconds += 2.0
    probe = await pool.acquire("s1")
    assert probe.base_url == A
    assert (await pool.acquire("s2")) is other

    clock.seconds += 2.0
    assert (await pool.acquire("s3")).base_url == A


async def test_a_snapshot_says_how_each_endpoint_is_doing(pool, clock):
    await send(pool, "s1", error("rate_limited", 429, retry_after_s=5.0))
    await send(pool, "s2")
    await take_down(pool, B)
    paused, down = sorted(pool.snapshot(), key=lambda each: each.base_url)

    assert (down.state, down.last_error) == ("down", "it failed")
    assert paused.state in {"paused", "up"}
    assert sum(each.answered for each in (paused, down)) == 1
