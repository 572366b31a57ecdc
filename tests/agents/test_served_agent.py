"""What the agent answers to whoever speaks HTTP to it: NeMo Gym's collector, or a `curl` that warms a model up."""

import aiohttp

from .conftest import call, message


async def test_run_replies_with_the_whole_row(served_world, row):
    served_world.model.turns = [[message("three")]]
    await served_world.agent()

    async with aiohttp.ClientSession() as http:
        reply = await http.post(f"{served_world.agent_url}/run", json=row)
        played = await reply.json()

    assert played["responses_create_params"].items() >= row["responses_create_params"].items()
    assert (played["label"], played["reward"], played["count"]) == ("x", 0.0, 1)
    assert played["response"]["output"] == [message("three")]
    assert "Set-Cookie" in reply.headers


async def test_run_needs_no_more_than_a_prompt(served_world):
    served_world.model.turns = [[message("warm")]]
    await served_world.agent()

    async with aiohttp.ClientSession() as http:
        row = {"responses_create_params": {"input": "hello"}}
        reply = await http.post(f"{served_world.agent_url}/run", json=row)

        assert (reply.status, (await reply.json())["reward"]) == (200, 0.0)


async def test_a_row_without_a_prompt_is_refused(served_world):
    await served_world.agent()

    async with aiohttp.ClientSession() as http:
        for row in ({}, {"responses_create_params": {}}, [1]):
            reply = await http.post(f"{served_world.agent_url}/run", json=row)

            assert reply.status == 422
            assert (await reply.json())["detail"][0]["loc"][0] == "body"


async def test_a_failed_episode_is_an_error_reply_with_its_class(served_world, row):
    await served_world.agent()

    async with aiohttp.ClientSession() as http:
        reply = await http.post(f"{served_world.agent_url}/run", json=row)
        error = (await reply.json())["error"]

    assert reply.status == 502
    assert (error["class"], error["message"]) == ("server_error", "the script is over")


async def test_responses_plays_all_turns_in_the_session_of_the_cookies(served_world):
    served_world.model.turns = [[call("add", '{"by": 2}')], [message("done")]]
    await served_world.agent()
    counter_url = served_world.url_of("environment")

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        seeded = await http.post(f"{counter_url}/seed_session", json={"start": 40})
        cookies = {name: morsel.value for name, morsel in seeded.cookies.items()}
        reply = await http.post(f"{served_world.agent_url}/v1/responses", json={"input": "go"}, cookies=cookies)
        response = await reply.json()

    assert response["output"][1]["output"] == '{"count":42}'
    assert any(name.startswith("Counter___") for name in reply.cookies)


async def test_metrics_come_from_the_environment_or_are_the_standard_ones(served_world):
    await served_world.agent()
    rows = [{"_ng_task_index": 0, "reward": 1.0}, {"_ng_task_index": 0, "reward": 0.0}]

    async with aiohttp.ClientSession() as http:
        url = f"{served_world.agent_url}/aggregate_metrics"
        metrics = await (await http.post(url, json={"verify_responses": rows})).json()

    assert metrics["agent_metrics"]["mean/reward"] == 0.5
    assert metrics["key_metrics"] == {"mean/reward": 0.5}
