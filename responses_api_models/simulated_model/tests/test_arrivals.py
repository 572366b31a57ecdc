"""What the engine remembers of time: arrivals one by one, and its load in a table that stays short."""

import asyncio
from itertools import count

import pytest

from responses_api_models.simulated_model.arrivals import Arrivals
from responses_api_models.simulated_model.history import FIRST_INTERVAL_S, MAX_ROWS, History

CHAT = "/v1/chat/completions"
BODY = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}


def arrivals(*times_s, kept=100, tokens=10):
    clock = iter(times_s)
    found = Arrivals(kept, lambda: next(clock))
    for _ in times_s:
        found.took(found.add(), tokens)
    return found


def test_the_busiest_window_is_found_wherever_it_lies():
    found = arrivals(0.0, 30.0, 59.0, 60.0, 61.0, 200.0)

    assert found.most(60.0) == (4, 40)  # 30 to 61; what came exactly 60 seconds ago is not in the window
    assert found.most(2.5) == (3, 30)
    assert found.most(1000.0) == (6, 60)


def test_only_the_latest_arrivals_are_kept_in_their_order():
    found = arrivals(*range(10), kept=4)
    found.took(2, 99)  # long forgotten
    found.ended(9, 200)

    assert list(found.rows()) == [(6.0, 10, 0), (7.0, 10, 0), (8.0, 10, 0), (9.0, 10, 200)]
    assert found.total == 10


@pytest.mark.parametrize("kept", [0, 1])
def test_little_or_nothing_may_be_kept(kept):
    found = arrivals(1.0, 2.0, 3.0, kept=kept)

    assert found.most(60.0) == (kept, 10 * kept)


def test_history_counts_what_happened_and_the_range_of_the_load():
    times_s = iter((100.0, 100.1, 100.2, 101.05))
    history = History(lambda: next(times_s))
    history.note(5, 2, 3, calls=1)
    history.note(1, 1, 0, completed=4, tokens=400)
    history.note(2, 2, 0, calls=1)

    assert history.rows == [[0.0, 1, 4, 400, 1, 5, 1, 1, 0], [1.0, 1, 0, 0, 1, 2, 2, 2, 0]]


def test_history_stays_short_and_loses_no_count():
    ticks = count(0)
    history = History(lambda: next(ticks) * FIRST_INTERVAL_S)
    total = 5 * MAX_ROWS
    for number in range(total):
        history.note(number % 7, 0, 0, calls=1)

    assert len(history.rows) <= MAX_ROWS
    assert history.interval_s == 8 * FIRST_INTERVAL_S
    assert sum(row[1] for row in history.rows) == total
    assert [row[0] for row in history.rows] == sorted({row[0] for row in history.rows})


async def test_arrivals_and_history_are_read_over_http(engine, post, get_json):
    for _ in range(3):
        await post(CHAT, BODY)

    counted = await get_json("/simulator/arrivals?window_s=10&rows")
    assert (counted["total"], counted["most_requests"]) == (3, 3)
    assert counted["most_tokens"] == engine.stats.prompt_tokens + engine.stats.generation_tokens
    assert [row[2] for row in counted["rows"]] == [200, 200, 200]
    history = await get_json("/simulator/history")
    columns = history["columns"]
    assert sum(row[columns.index("completed")] for row in history["rows"]) == 3
    assert (await post("/simulator/reset"))[0] == 200
    assert (await get_json("/simulator/history"))["rows"] == []
    assert "rows" not in await get_json("/simulator/arrivals")


async def test_a_request_that_is_under_way_when_counting_begins_anew_is_in_neither_count(engine, post):
    await post("/simulator/faults", {"slow": 1.0, "slow_s": 0.05})
    call = asyncio.create_task(post(CHAT, BODY))
    while not engine.stats.in_flight:
        await asyncio.sleep(0.001)
    engine.stats.clear()

    assert (await call)[0] == 200
    assert (engine.stats.arrivals.total, engine.stats.in_flight) == (0, 0)
