"""What a service that counts requests and tokens per minute may rely on, and what callers may."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_gym_lite.clock import SystemClock
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.routing.endpoint import Endpoint
from nemo_gym_lite.routing.limiter import Size
from nemo_gym_lite.routing.pool import EndpointPool
from nemo_gym_lite.routing.rates import LATE_S, RateLimiter, parse_duration
from nemo_gym_lite.routing.retry import RetryPolicy
from nemo_gym_lite.routing.router import Router
from responses_api_models.simulated_model.server import running_engine
from responses_api_models.simulated_model.settings import EngineSettings, Latency
from tests.routing.conftest import ManualClock, settle


class Service:
    """Answers after a while, on a clock moved by hand, and keeps when requests came and what they took."""

    def __init__(self, clock, limiter, delay_s=0.0):
        self.clock, self.limiter, self.delay_s = clock, limiter, delay_s
        self.arrived: list[tuple[float, int]] = []
        self.calls: list[asyncio.Task] = []

    def ask(self, tokens=10, most_output=None, prompt_tokens=0, headers=None, late_s=0.0):
        size = Size(prompt_tokens, most_output)
        self.calls.append(asyncio.create_task(self._call(tokens, size, headers or {}, late_s)))

    async def _call(self, tokens, size, headers, late_s):
        ticket = await self.limiter.admit(size)
        await self.clock.sleep(late_s)
        self.arrived.append((self.clock.now(), tokens))
        await self.clock.sleep(self.delay_s)
        self.limiter.settle(ticket, tokens, headers)

    def most(self, window_s=60.0):
        """Most requests and most tokens within any window."""
        begins = [came for came, _ in self.arrived]
        inside = [[tokens for came, tokens in self.arrived if begin <= came < begin + window_s] for begin in begins]
        return max(map(len, inside)), max(map(sum, inside))

    async def run(self, seconds, step_s=0.5):
        for _ in range(int(seconds / step_s)):
            await self.clock.advance(step_s)

    def end(self):
        for call in self.calls:
            call.cancel()


@pytest.fixture
def serve():
    services = []

    def make(requests=None, tokens=None, delay_s=0.0):
        clock = ManualClock()
        services.append(Service(clock, RateLimiter(requests, tokens, clock), delay_s))
        return services[-1]

    yield make
    for service in services:
        service.end()


async def test_no_sixty_seconds_hold_more_requests_than_a_minute_may(serve):
    service = serve(requests=30)
    for _ in range(200):
        service.ask()
    await service.run(300)

    requests, _ = service.most()
    assert requests == 30
    assert len(service.arrived) >= 30 * 300 / (60 + LATE_S) - 1


async def test_requests_that_arrive_late_do_not_crowd_those_that_come_a_minute_after_them(serve):
    service = serve(requests=60, delay_s=0.2)
    for number in range(180):
        service.ask(late_s=1.9 if number < 60 else 0.0)
    await service.run(190, step_s=0.1)

    requests, _ = service.most()
    assert requests == 60
    assert len(service.arrived) == 180


@settings(max_examples=40, deadline=None)
@given(
    limit=st.integers(1, 40),
    calls=st.lists(st.tuples(st.floats(0, 200), st.floats(0, LATE_S), st.floats(0, 90), st.booleans()), max_size=120),
)
def test_whatever_calls_do_the_requests_of_a_minute_are_not_exceeded(limit, calls):
    async def play():
        clock = ManualClock()
        service = Service(clock, RateLimiter(limit, None, clock))
        calls.sort()
        for at_s, late_s, delay_s, cancelled in calls:
            await clock.advance(max(0.0, 1000.0 + at_s - clock.now()))
            service.delay_s = delay_s
            service.ask(late_s=late_s)
            if cancelled:
                service.calls[len(service.calls) // 2].cancel()
        await service.run(300, step_s=5)
        service.end()
        await asyncio.gather(*service.calls, return_exceptions=True)
        return service

    service = asyncio.run(play())
    if service.arrived:
        assert service.most()[0] <= limit


async def test_requests_are_let_through_in_the_order_in_which_they_came(serve):
    service = serve(requests=30)
    for number in range(40):
        service.ask(tokens=number)
    await service.run(130)

    assert [tokens for _, tokens in service.arrived] == list(range(40))


async def test_a_minute_s_requests_do_not_go_out_in_its_first_second(serve):
    service = serve(requests=600)
    for _ in range(600):
        service.ask()
    await service.run(10, step_s=0.1)

    requests, _ = service.most(1.0)
    assert requests == 10


async def test_tokens_exceed_a_minute_s_by_at_most_one_request_even_when_the_first_answers_are_the_short_ones(serve):
    rng = random.Random(1)
    service = serve(tokens=100_000, delay_s=8.0)
    for number in range(3000):
        service.ask(tokens=20 if number % 20 == 0 else int(min(9000, rng.lognormvariate(6, 1))))
    await service.run(600)

    _, tokens = service.most()
    largest = max(tokens for _, tokens in service.arrived)
    assert tokens <= 100_000 + largest
    assert sum(tokens for _, tokens in service.arrived) > 0.6 * 10 * 100_000


async def test_tokens_of_requests_that_say_how_long_their_answers_may_be_never_exceed_a_minute_s(serve):
    service = serve(tokens=100_000, delay_s=8.0)
    for number in range(2000):
        service.ask(tokens=100 if number < 500 else 3000, most_output=3000)
    await service.run(300)

    _, tokens = service.most()
    assert tokens <= 100_000
    assert sum(tokens for _, tokens in service.arrived) > 0.5 * 5 * 100_000


async def test_an_answer_shorter_than_estimated_makes_room_at_once(serve):
    service = serve(tokens=1000, delay_s=1.0)
    for _ in range(18):
        service.ask(tokens=50, most_output=1000)
    await service.run(30)

    assert len(service.arrived) > 12


async def test_a_request_larger_than_a_minute_s_tokens_goes_alone(serve):
    service = serve(tokens=1000)
    service.ask(tokens=5000, prompt_tokens=5000)
    service.ask(tokens=5000, prompt_tokens=5000)
    await service.run(50)
    assert len(service.arrived) == 1

    await service.run(20)
    assert len(service.arrived) == 2


async def test_a_waiting_call_that_is_cancelled_takes_nobody_s_turn(serve):
    service = serve(requests=1)
    for number in range(4):
        service.ask(tokens=number)
    await service.run(1)
    service.calls[1].cancel()
    service.calls[2].cancel()
    await service.run(62)

    assert [tokens for _, tokens in service.arrived] == [0, 3]


async def test_a_request_that_was_not_sent_counts_nothing(serve):
    service = serve(requests=1)
    service.limiter.withdraw(await service.limiter.admit(Size(0)))
    service.ask()
    await settle()

    assert len(service.arrived) == 1


async def test_limits_that_only_the_replies_tell_are_kept_too(serve):
    service = serve(delay_s=0.5)
    headers = {"x-ratelimit-limit-requests": "20", "x-ratelimit-remaining-requests": "20"}
    service.ask(headers=headers)
    await service.run(5)
    for _ in range(50):
        service.ask(headers=headers)
    await service.run(50)

    assert service.limiter.limit("requests") == 20
    assert len(service.arrived) <= 1 + 20


async def test_the_lower_of_configuration_and_replies_holds(serve):
    service = serve(requests=10)
    headers = {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"}
    service.ask(headers=headers)
    await settle()

    assert service.limiter.limit("requests") == 10


async def test_what_others_use_up_under_the_same_key_is_left_to_them_until_the_reset(serve):
    service = serve(requests=10)
    told = {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "30s",
    }
    service.ask(headers=told)
    await settle()
    for _ in range(9):
        service.ask()
    await service.run(29)
    assert len(service.arrived) == 3

    await service.run(20)
    assert len(service.arrived) == 10


async def test_without_limits_nothing_waits(serve):
    service = serve()
    for _ in range(1000):
        service.ask()
    await settle()

    assert len(service.arrived) == 1000


async def test_workers_together_stay_within_the_limits():
    clock = ManualClock()
    limiters = [RateLimiter(100, 1000, clock) for _ in range(3)]
    for limiter in limiters:
        limiter.share(3)
    services = [Service(clock, limiter) for limiter in limiters]
    for service in services:
        for _ in range(60):
            service.ask(tokens=1, most_output=1)
    for _ in range(118):
        await clock.advance(0.5)

    assert [len(service.arrived) for service in services] == [33, 33, 33]
    for service in services:
        service.end()


async def test_no_window_holds_more_requests_or_tokens_than_allowed_as_an_engine_counts(http):
    """Its window is short; the soak has the whole minute."""
    clock = SystemClock()
    async with running_engine(EngineSettings(latency=Latency(ttft_s=0.1, jitter=0.5))) as engine:
        urls = [engine.base_url]
        limiter = RateLimiter(40, 2400, clock, window_s=2.0)
        endpoints = [Endpoint(url, http, Deadlines()) for url in urls]
        router = Router(endpoints, EndpointPool(urls, clock), RetryPolicy(), clock, limiter=limiter)
        prompts = ({"messages": [{"role": "user", "content": f"Say {n}. " * (1 + n % 20)}]} for n in range(80))
        await asyncio.gather(*(router.call(f"s{n}", "/chat/completions", body) for n, body in enumerate(prompts)))

        requests, tokens = engine.stats.arrivals.most(2.0)
        largest = max(taken for _, taken, _ in engine.stats.arrivals.rows())
    assert requests <= 40
    assert tokens <= 2400 + largest


async def test_more_workers_than_requests_per_minute_are_refused():
    with pytest.raises(ConfigError, match="requests_per_minute is 2, less than num_workers, which is 4"):
        RateLimiter(2, None, ManualClock()).share(4)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("120ms", 0.12),
        ("2m59.56s", 179.56),
        ("1h2m", 3720),
        ("7.5", 7.5),
        ("", None),
        ("soon", None),
    ],
)
def test_a_reset_is_read_as_services_write_it(text, seconds):
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))
