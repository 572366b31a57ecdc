"""Slots, queue and time of the engine."""

import asyncio
from time import monotonic

import pytest

from nemo_gym_lite.errors import EndpointError
from responses_api_models.simulated_model.scheduler import Scheduler
from responses_api_models.simulated_model.settings import EngineSettings, Latency


def scheduler(**settings) -> Scheduler:
    latency = Latency(**settings.pop("latency", {"ttft_s": 0.03}))
    return Scheduler(EngineSettings(latency=latency, **settings))


async def test_no_more_answers_than_slots_are_under_way_and_the_rest_wait_their_turn():
    slots = scheduler(slots=2)
    order = []

    async def ask(number):
        await slots.hold(1, 1)
        order.append(number)

    asked = [asyncio.create_task(ask(number)) for number in range(6)]
    await asyncio.sleep(0)
    assert (slots.running, slots.waiting) == (2, 4)
    await asyncio.gather(*asked)
    assert order == sorted(order)
    assert (slots.running, slots.waiting) == (0, 0)


async def test_a_full_queue_refuses_as_vllm_does():
    slots = scheduler(slots=1, max_queued=1)
    waiting = [asyncio.create_task(slots.hold(1, 1)) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(EndpointError) as refused:
        await slots.hold(1, 1)
    assert (refused.value.status, slots.waiting) == (503, 1)
    await asyncio.gather(*waiting)


async def test_who_gives_up_in_the_queue_takes_no_slot():
    slots = scheduler(slots=1)
    first, second, third = (asyncio.create_task(slots.hold(1, 1)) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, third)

    assert (slots.running, slots.waiting) == (0, 0)


async def test_who_gives_up_as_the_slot_arrives_hands_it_on():
    slots = scheduler(slots=1)
    first, second, third = (asyncio.create_task(slots.hold(1, 1)) for _ in range(3))
    await asyncio.sleep(0)
    first.add_done_callback(lambda _: second.cancel())
    await asyncio.gather(first, third)

    assert (slots.running, slots.waiting) == (0, 0)


async def test_time_follows_prompt_answer_and_speed():
    slots = scheduler(latency={"ttft_s": 1.0, "prompt_token_s": 0.01, "token_s": 0.1, "speed": 50})
    begun = monotonic()
    await slots.hold(100, 5)

    assert 0.05 <= monotonic() - begun < 0.5


async def test_without_latency_an_answer_is_due_at_once():
    slots = scheduler(latency={})
    hold = slots.hold(10, 10)

    with pytest.raises(StopIteration):
        hold.send(None)


async def test_slots_can_be_added_and_taken_away_while_answers_are_under_way():
    slots = scheduler(slots=2)
    asked = [asyncio.create_task(slots.hold(1, 1)) for _ in range(9)]
    await asyncio.sleep(0)

    slots.resize(6)
    assert (slots.running, slots.waiting) == (6, 3)
    slots.resize(1)
    assert slots.running == 6  # what runs already runs to its end
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.01)
    assert (slots.running, slots.waiting) == (1, 2)
    slots.resize(None)
    assert (slots.running, slots.waiting) == (3, 0)
    await asyncio.gather(*asked)
    assert slots.running == 0
