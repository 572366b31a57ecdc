"""A cache that answers outgrow: who is preempted, and what it costs."""

import asyncio

import pytest

from responses_api_models.simulated_model.kv_cache import MOST_SLOWDOWN, KvCache
from responses_api_models.simulated_model.scheduler import Scheduler
from responses_api_models.simulated_model.settings import EngineSettings, Latency


def test_answers_grow_evenly_and_the_moment_of_overflow_is_known():
    cache = KvCache(1_000)
    cache.enter("first", 100, 400, due_s=10.0, now_s=0.0)
    assert cache.overflows_s(0.0) is None  # alone it always fits
    cache.enter("second", 100, 600, due_s=10.0, now_s=0.0)

    assert cache.used(5.0) == pytest.approx(0.7)
    assert cache.overflows_s(5.0) == pytest.approx(8.0)
    assert cache.held("second", 8.0) == pytest.approx(580)


def test_the_youngest_is_preempted_and_its_tokens_are_free():
    cache = KvCache(1_000)
    cache.enter("old", 300, 0, due_s=1.0, now_s=0.0)
    cache.enter("young", 600, 0, due_s=1.0, now_s=0.0)
    assert not cache.fits(100, 0.0)

    assert cache.youngest() == "young"
    cache.leave("young", 0.5, preempted=True)
    assert cache.used(0.5) == pytest.approx(0.3)
    assert cache.fits(100, 0.5)


def test_a_request_that_is_alone_may_begin_whatever_it_needs():
    assert KvCache(10).fits(1_000, 0.0)


def test_thrown_away_tokens_slow_every_answer_down_until_they_are_forgotten():
    cache = KvCache(1_000)

    def answer(tokens, *, preempted):
        cache.enter("one", tokens, 0, due_s=1.0, now_s=0.0)
        cache.leave("one", 1.0, preempted=preempted)

    answer(100, preempted=False)
    assert cache.slowdown() == 1.0
    answer(50, preempted=True)
    assert cache.slowdown() == 1.5
    for _ in range(100):
        answer(100, preempted=True)
    assert cache.slowdown() == MOST_SLOWDOWN
    for _ in range(400):
        answer(100, preempted=False)
    assert cache.slowdown() < 1.1


async def played(users: int, answers: int = 24) -> Scheduler:
    """So many users, each asking again at once, get so many answers."""
    settings = EngineSettings(kv_cache_tokens=5_000, latency=Latency(token_s=0.00005))
    scheduler, left = Scheduler(settings), iter(range(answers))

    async def user():
        for _ in left:
            await scheduler.hold(100, 900)

    await asyncio.gather(*(user() for _ in range(users)))
    return scheduler


async def test_answers_are_preempted_where_too_many_are_asked_for_at_once():
    fitting, thrashing = await played(4), await played(24)

    assert (fitting.preemptions, fitting.running, fitting.waiting) == (0, 0, 0)
    assert thrashing.preemptions > 10
    assert (thrashing.running, thrashing.waiting, thrashing.cache_use()) == (0, 0, 0.0)


async def test_who_gives_up_while_preempted_or_running_frees_the_cache():
    scheduler = Scheduler(EngineSettings(kv_cache_tokens=1_000, latency=Latency(token_s=0.0001)))
    asked = [asyncio.create_task(scheduler.hold(100, 800)) for _ in range(6)]
    await asyncio.sleep(0.06)
    assert scheduler.cache_use() > 0.5
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)

    assert (scheduler.running, scheduler.waiting, scheduler.cache_use()) == (0, 0, 0.0)
