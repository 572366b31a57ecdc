"""What an episode may rely on from an environment, whether it is in this process or behind HTTP."""

import asyncio
import copy
import time

import pytest

from nemo_gym_lite.base_resources_server import BaseVerifyRequest, BaseVerifyResponse
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import FailedCallError, JudgeError

from .conftest import BlockingVerify, Weather, make, placed


async def test_a_tool_gets_its_arguments_and_its_reply_comes_back_verbatim(resources):
    session = resources.open("s1")

    assert await session.call_tool("get_weather", {"city": "Oslo"}) == '{"city":"Oslo","temperature":20.5}'


async def test_seeding_sets_up_state_that_later_calls_of_the_session_see(resources, row):
    session = resources.open("s1")

    assert await session.seed(row) == {"start": 5}
    assert await session.call_tool("count", {}) == '{"count":6}'
    assert await session.call_tool("count", {}) == '{"count":7}'


async def test_sessions_do_not_see_each_others_state(resources, row):
    first, second = resources.open("s1"), resources.open("s2")
    await first.seed(row)
    await second.seed({**row, "start": 50})

    assert await first.call_tool("count", {}) == '{"count":6}'
    assert await second.call_tool("count", {}) == '{"count":51}'


async def test_a_session_that_was_not_seeded_begins_with_its_first_tool_call(resources):
    session = resources.open("s1")

    assert [await session.call_tool("count", {}) for _ in range(2)] == ['{"count":1}', '{"count":2}']


async def test_verify_gives_the_environments_fields_without_the_echo(resources, row, response):
    session = resources.open("s1")
    await session.seed(row)

    verdict = await session.verify({**row, "response": response})

    assert verdict == {
        "expected": "fine",
        "extra": {**row["extra"], "touched": True},
        "reward": 1.0,
        "count": 5,
        "note": None,
    }


async def test_near_and_far_verdicts_are_the_same_bytes(row, response):
    verdicts = []
    for side in ("near", "far"):
        async with placed(make(Weather), side) as resources:
            verdicts.append(list((await resources.open("s").verify({**row, "response": response})).items()))

    assert repr(verdicts[0]) == repr(verdicts[1])


async def test_an_environment_cannot_change_the_callers_row(resources, row, response):
    asked = {**row, "response": response}
    before = copy.deepcopy(asked)

    await resources.open("s1").verify(asked)

    assert asked == before


async def test_a_tool_that_raises_answers_with_the_error_as_the_model_should_read_it(resources):
    assert await resources.open("s1").call_tool("explode", {}) == "\"ValueError('boom')\""


async def test_a_tool_that_refuses_answers_with_its_detail(resources):
    assert await resources.open("s1").call_tool("refuse", {}) == '{"detail":"a teapot"}'


async def test_a_tool_that_answers_text_is_read_as_text(resources):
    assert await resources.open("s1").call_tool("plain", {}) == "plain text"


async def test_arguments_that_do_not_fit_come_back_as_fastapis_422(resources):
    reply = await resources.open("s1").call_tool("get_weather", {"days": "many"})

    assert '"loc":["body","city"],"msg":"Field required"' in reply
    assert '"loc":["body","days"]' in reply


async def test_arguments_that_are_no_object_come_back_as_an_error(resources):
    assert '"loc":["body"]' in await resources.open("s1").call_tool("get_weather", [1, 2])


async def test_integers_of_any_size_survive(resources):
    assert await resources.open("s1").call_tool("echo", {"n": 2**63}) == '{"n":9223372036854775808}'


async def test_a_catch_all_route_gets_what_no_tool_has(resources):
    session = resources.open("s1")

    assert await session.call_tool("no_such_tool", {"a": 1}) == '{"path":"/no_such_tool","body":{"a":1}}'


async def test_a_tool_name_cannot_leave_its_place_in_the_path(resources):
    reply = await resources.open("s1").call_tool("any/../verify?x=1", {})

    assert '"path":"/any/' in reply
    assert "reward" not in reply


async def test_a_check_that_crashes_is_a_failure_and_never_a_reward(resources, row, response):
    with pytest.raises(FailedCallError, match="the checker crashed") as failure:
        await resources.open("s1").verify({**row, "expected": "crash", "response": response})

    assert failure.value.failure_class == "verify_failed"
    assert not failure.value.terminal


async def test_a_judge_that_fails_is_told_apart_from_a_wrong_answer(resources, row, response):
    with pytest.raises(JudgeError, match="no judge answered"):
        await resources.open("s1").verify({**row, "expected": "judge", "response": response})


async def test_a_failed_call_inside_a_check_keeps_its_class(resources, row, response):
    with pytest.raises(FailedCallError, match="too many calls") as failure:
        await resources.open("s1").verify({**row, "expected": "busy", "response": response})

    assert failure.value.failure_class == "rate_limited"
    assert failure.value.hint == "wait"


async def test_a_row_that_does_not_validate_fails_for_good(resources, row):
    with pytest.raises(FailedCallError, match="Field required") as failure:
        await resources.open("s1").verify(row)

    assert failure.value.failure_class == "verify_failed"
    assert failure.value.terminal


async def test_a_seed_that_does_not_validate_fails_for_good(resources, row):
    with pytest.raises(FailedCallError, match="start") as failure:
        await resources.open("s1").seed({**row, "start": "soon"})

    assert failure.value.failure_class == "seed_failed"
    assert failure.value.terminal


async def test_a_check_that_takes_too_long_is_a_timeout(side, row, response):
    async with placed(make(Weather), side, Deadlines(verify_s=0.2)) as resources:
        with pytest.raises(FailedCallError, match=r"0\.2 s") as failure:
            await resources.open("s1").verify({**row, "expected": "slow", "response": response})

    assert failure.value.failure_class == "timeout"


async def test_blocking_checks_and_tools_run_side_by_side(side, row, response):
    async with placed(make(BlockingVerify), side) as resources:
        started = time.monotonic()
        asked = {**row, "response": response}
        verdicts = await asyncio.gather(*(resources.open(str(i)).verify(asked) for i in range(5)))

    assert verdicts == [{"reward": 0.5}] * 5
    assert time.monotonic() - started < 1.2


class StuckVerify(BlockingVerify):
    def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        time.sleep(1.2)
        return super().verify(body)


async def test_a_blocking_check_that_takes_too_long_is_not_waited_for(side, row, response):
    async with placed(make(StuckVerify), side, Deadlines(verify_s=0.1)) as resources:
        started = time.monotonic()
        with pytest.raises(FailedCallError) as failure:
            await resources.open("s1").verify({**row, "response": response})
        waited_s = time.monotonic() - started

    assert failure.value.failure_class == "timeout"
    assert waited_s < 1.0


async def test_a_blocking_tool_does_not_hold_up_others(resources):
    napping = asyncio.create_task(resources.open("s1").call_tool("nap", {}))
    await asyncio.sleep(0.05)
    await resources.open("s2").call_tool("count", {})

    assert not napping.done()
    assert await napping == '"rested"'


async def test_an_environment_without_sessions_is_not_asked_to_seed(side, row):
    async with placed(make(BlockingVerify), side) as resources:
        assert await resources.open("s1").seed(row) == {}


async def test_an_environment_without_metrics_of_its_own_computes_none(side):
    async with placed(make(BlockingVerify), side) as resources:
        assert not await resources.has_metrics()
        assert await resources.aggregate_metrics([{"reward": 1.0}]) is None


class Measured(BlockingVerify):
    def compute_metrics(self, tasks):
        return {"tasks": len(tasks)}

    def get_key_metrics(self, agent_metrics):
        return {"tasks": agent_metrics["tasks"]}


async def test_an_environment_computes_its_own_metrics(side):
    rows = [{"_ng_task_index": 0, "reward": 1.0}, {"_ng_task_index": 1, "reward": 0.0}]
    async with placed(make(Measured), side) as resources:
        metrics = await resources.aggregate_metrics(rows)

    assert metrics["key_metrics"] == {"tasks": 2}
    assert metrics["agent_metrics"]["mean/reward"] == 0.5
