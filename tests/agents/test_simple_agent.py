"""What an episode of the tool loop is, whether the loop runs in this process or as a server."""

import copy

import pytest

from nemo_gym_lite.agents.simple_agent import add_usage
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import FailedCallError

from .conftest import call, message, reasoning, usage


async def test_an_answer_ends_the_episode_and_is_verified(world, row):
    world.model.turns = [[message("three")]]
    agent = await world.agent()

    played = await agent.run({**row, "start": 3})

    assert played["response"]["output"] == [message("three")]
    assert (played["reward"], played["count"]) == (1.0, 3)


async def test_tool_calls_run_in_order_and_their_replies_join_the_conversation(world, row):
    world.model.turns = [
        [reasoning("add twice"), call("add", '{"by": 1}', "c1"), call("add", '{"by": 4}', "c2")],
        [message("done")],
    ]
    agent = await world.agent()

    played = await agent.run(row)

    assert played["response"]["output"] == [
        *world.model.turns[0],
        {"type": "function_call_output", "call_id": "c1", "output": '{"count":2}'},
        {"type": "function_call_output", "call_id": "c2", "output": '{"count":6}'},
        message("done"),
    ]
    assert world.model.asked[1]["input"] == [
        {"role": "user", "content": "count to three", "type": "message"},
        *played["response"]["output"][:-1],
    ]
    assert played["count"] == 6


async def test_every_turn_keeps_the_asked_parameters_and_the_session(world, row):
    world.model.turns = [[call("add", '{"by": 1}')], [message("done")]]
    agent = await world.agent()

    await agent.run(row)

    assert [asked["temperature"] for asked in world.model.asked] == [0.5, 0.5]
    assert len(set(world.model.session_ids)) == 1


async def test_the_models_sessions_of_one_task_begin_with_its_index(world, row):
    world.model.turns = [[message("done")]]
    agent = await world.agent()
    for _ in range(2):
        await agent.run({**row, "_ng_task_index": 17})

    assert len(set(world.model.session_ids)) == 2
    assert {session_id.partition("-")[0] for session_id in world.model.session_ids} == {"17"}


async def test_the_row_is_not_changed(world, row):
    row["responses_create_params"]["input"] = [{"role": "user", "content": "go"}]
    before = copy.deepcopy(row)
    world.model.turns = [[call("add", '{"by": 1}')], [message("done")]]
    agent = await world.agent()

    await agent.run(row)

    assert row == before


async def test_usage_is_summed_over_turns_and_what_nobody_knows_stays_unknown(world, row):
    world.model.turns = [[call("add", '{"by": 1}')], [message("done")]]
    world.model.extras = [{"usage": usage(10, 5)}, {"usage": usage(20, 1, cached=16)}]
    agent = await world.agent()

    played = await agent.run(row)

    assert played["response"]["usage"] == usage(30, 6, cached=16)


def test_usage_of_a_turn_that_reports_none_counts_nothing():
    assert add_usage(None, usage(1, 2)) == usage(1, 2)
    assert add_usage(usage(1, 2), None) == usage(1, 2)
    assert add_usage(None, None) is None


@pytest.mark.parametrize("arguments", ['{"by": ', "", "by=1"])
async def test_arguments_that_are_not_json_are_told_to_the_model_without_calling_the_tool(world, row, arguments):
    world.model.turns = [[call("add", arguments)], [message("sorry")]]
    agent = await world.agent()

    played = await agent.run(row)

    assert played["response"]["output"][1]["output"].startswith(
        '{"error": "Invalid tool call arguments: JSONDecodeError('
    )
    assert played["count"] == 1


async def test_a_tool_error_is_the_models_to_read(world, row):
    world.model.turns = [[call("add", '{"by": "much"}'), call("no_such_tool", "{}")], [message("sorry")]]
    agent = await world.agent()

    played = await agent.run(row)

    outputs = [item["output"] for item in played["response"]["output"] if "output" in item]
    assert '"loc":["body","by"]' in outputs[0]
    assert outputs[1] == '{"detail":"Not Found"}'


async def test_max_steps_ends_the_episode_after_the_tools_of_the_last_turn(world, row):
    world.model.turns = [[call("add", '{"by": 1}')] for _ in range(5)]
    agent = await world.agent(max_steps=2)

    played = await agent.run(row)

    assert len(world.model.asked) == 2
    assert played["count"] == 3
    assert played["response"]["output"][-1]["output"] == '{"count":3}'


async def test_an_incomplete_answer_ends_the_episode_before_its_tools(world, row):
    world.model.turns = [[call("add", '{"by": 1}')]]
    world.model.extras = [{"incomplete_details": {"reason": "max_output_tokens"}}]
    agent = await world.agent()

    played = await agent.run(row)

    assert played["count"] == 1
    assert played["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_a_turn_that_only_reasons_is_followed_by_another(world, row):
    world.model.turns = [[reasoning("hm")], [message("three")]]
    agent = await world.agent()

    played = await agent.run(row)

    assert played["response"]["output"] == [reasoning("hm"), message("three")]


async def test_an_episode_that_only_reasons_comes_to_an_end(world, row):
    world.model.turns = [[reasoning("hm")] for _ in range(50)]
    agent = await world.agent()

    await agent.run(row)

    assert len(world.model.asked) == 3


async def test_skipping_verification_gives_the_configured_reward(world, row):
    world.model.turns = [[message("three")]]
    agent = await world.agent(skip_verification=True, skip_verification_reward=0.25)

    played = await agent.run(row)

    assert (played["reward"], played["verification_skipped"]) == (0.25, True)
    assert "count" not in played


async def test_a_models_failure_keeps_its_class(world, row):
    agent = await world.agent()

    with pytest.raises(FailedCallError, match="the script is over") as failure:
        await agent.run(row)

    assert failure.value.failure_class == "server_error"


async def test_a_failed_episode_tells_what_its_answered_turns_used(world, row):
    world.model.turns = [[call("add", '{"by": 1}')]]
    world.model.extras = [{"usage": usage(10, 5)}]
    agent = await world.agent()

    with pytest.raises(FailedCallError, match="the script is over") as failure:
        await agent.run(row)

    assert failure.value.played == {"usage": usage(10, 5)}


async def test_an_episode_that_only_its_check_fails_keeps_its_response(world, row):
    world.model.turns = [[message("done")]]
    world.model.extras = [{"usage": usage(10, 5)}]
    agent = await world.agent()

    with pytest.raises(FailedCallError) as failure:
        await agent.run({**row, "start": None})  # `None >= 3` in its check

    assert failure.value.failure_class == "verify_failed"
    assert failure.value.played["response"]["output"] == [message("done")]
    assert failure.value.played["usage"] == usage(10, 5)


async def test_a_tool_that_never_answers_fails_the_episode_in_time(world, row):
    world.model.turns = [[call("stall", "{}")]]
    agent = await world.agent(Deadlines(tool_s=0.2))

    with pytest.raises(FailedCallError, match=r"0\.2 s") as failure:
        await agent.run(row)

    assert failure.value.failure_class == "timeout"


async def test_an_episode_has_an_end(world, row):
    world.model.turns = [[call("stall", "{}")]]
    agent = await world.agent(Deadlines(episode_s=0.2))

    with pytest.raises(FailedCallError, match=r"0\.2 s") as failure:
        await agent.run(row)

    assert failure.value.failure_class == "timeout"


async def test_near_and_far_episodes_add_the_same_fields_in_the_same_order(world, row):
    world.model.turns = [[call("add", '{"by": 2}')], [message("three")]]
    world.model.extras = [{"usage": usage(10, 5)}, {"usage": usage(20, 1)}]
    agent = await world.agent()

    played = await agent.run(row)

    assert list(played) == ["response", "reward", "count"]
    assert list(played["response"]) == [
        "id", "created_at", "model", "object", "parallel_tool_calls", "tool_choice", "tools", "output", "usage",
    ]  # fmt: skip


@pytest.mark.parametrize("side", ["near"])
async def test_a_session_is_forgotten_however_the_episode_ends(world, row):
    world.model.turns = [[message("three")]]
    agent = await world.agent()

    await agent.run(row)
    world.model.turns = []
    with pytest.raises(FailedCallError):
        await agent.run(row)

    assert world.model.ended == world.model.session_ids


@pytest.mark.parametrize("arguments", ['{"by": "\\ud800"}', "[" * 5000, '{"by": 1' + "0" * 5000 + "}"])
async def test_arguments_that_cannot_be_sent_are_the_models_to_read(world, row, arguments):
    world.model.turns = [[call("add", arguments)], [message("done")]]
    agent = await world.agent()

    played = await agent.run(row)

    assert "Invalid tool call arguments" in played["response"]["output"][1]["output"]
    assert played["count"] == row["start"]


async def test_an_integer_of_any_size_reaches_its_tool(world, row):
    world.model.turns = [[call("add", '{"by": 123456789012345678901234567890}')], [message("done")]]
    agent = await world.agent()

    played = await agent.run({**row, "start": 0})

    assert played["response"]["output"][1]["output"] == '{"count":123456789012345678901234567890}'


@pytest.mark.parametrize("name", ["verify", "seed_session", "aggregate_metrics"])
async def test_a_model_cannot_call_what_only_the_agent_may(world, row, name):
    world.model.turns = [[call(name, '{"start": 7}')], [message("done")]]
    agent = await world.agent()

    played = await agent.run({**row, "start": 3})

    assert "there is no tool" in played["response"]["output"][1]["output"]
    assert played["count"] == 3
