"""One engine: its port is its own, and it is started again when it hangs."""

import asyncio
import os
import signal
import socket

import aiohttp
import pytest
from aiohttp import web

from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.client import open_http
from responses_api_models.local_vllm_model.life_signs import read_page, until_hung, until_quiet
from responses_api_models.local_vllm_model.replica import Patience, Replica, ReplicaPlan
from responses_api_models.local_vllm_model.tests.composing import engine_pids, plans_of

PAGE = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="tiny"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="tiny"}} 0.0
vllm:engine_sleep_state{{engine="0",model_name="tiny",sleep_state="awake"}} {awake}
vllm:generation_tokens_total{{engine="0",model_name="tiny"}} {tokens}
process_cpu_seconds_total {looks}
"""


async def test_what_listens_on_its_port_is_not_taken_for_the_engine(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        plan = ReplicaPlan("the engine", ["false"], {}, url, folder / "log", str(folder))
        async with open_http(Deadlines()) as http:
            with pytest.raises(ServerStartError, match="the port is in use"):
                await Replica(plan, http, print, Patience(port_s=0)).start()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hang now", "none of its 1 requests moved for 1.2 s"),
        ("hang unseen", "it did not answer a request for one token within 0.6 s"),
        ("is stopped", "it did not answer for 1.2 s"),
    ],
)
async def test_an_engine_that_hangs_is_started_again(folder, text, told):
    [plan] = await plans_of(folder)
    shown = []
    async with open_http(Deadlines()) as http:
        replica = Replica(plan, http, shown.append, Patience(hang_s=1.2, backoff_s=0.1, stop_s=0.2))
        await replica.start()
        keeping = asyncio.create_task(replica.keep())
        if text == "is stopped":
            os.kill(engine_pids(folder)[0][0], signal.SIGSTOP)
        with pytest.raises(aiohttp.ClientError):  # whoever waits is let go, and asks another replica
            await http.post(f"{plan.url}/v1/completions", json={"prompt": text})
        async with asyncio.timeout(40):
            while sum("ready at" in line for line in shown) < 2:
                await asyncio.sleep(0.05)
        keeping.cancel()
        await replica.stop()

    [line] = [line for line in shown if "replica 1 of policy_model hangs: " in line][:1]
    assert told in line or "hangs: it did not answer" in line, shown  # the latter where the machine is crowded
    assert "`hang_s`" in line
    assert any("restart 1 of 5" in line for line in shown)


def page(running=0, tokens=0, awake=1, looks=0):
    text = PAGE.format(running=running, awake=awake, tokens=tokens, looks=looks)
    return read_page(text.encode())


async def watched(looks, answers):
    """What is said of an engine that shows `looks` and then no more, and how often it was asked for a token."""
    left, asked = list(looks), []

    async def look(_):
        if not left:
            raise EOFError
        return left.pop(0)

    async def ask(timeout_s):
        asked.append(timeout_s)
        return answers

    watching = until_quiet(look, ask, HANG_S)
    try:
        return await watching, len(asked)
    except EOFError:
        return "it lives", len(asked)


HANG_S = 0.006
LIVELY = {
    "works-through-one-long-prompt": ([page(1, number // 4, looks=number) for number in range(40)], 0),
    "has-nothing-to-do-and-answers": ([page(looks=number) for number in range(40)], 13),
    "was-put-to-sleep": ([page(awake=0, looks=number) for number in range(40)], 0),
    "has-no-figures": ([read_page(b"process_cpu_seconds_total 7")] * 40, 0),
    "is-too-busy-for-three-looks-of-four": (
        [None if number % 4 else read_page(b"") for number in range(40)],
        0,
    ),
    "has-nothing-to-do-after-looks-without-an-answer": ([page(), *[None] * 3, page(), None, page()], 1),
    "has-nothing-to-do-at-the-last-look": ([page(), *[None] * 5, *[page()] * 2], 1),
}
HUNG = {
    "never-answers": ([None] * 6, 0, "it did not answer for 0.006 s"),
    "stops-to-answer": ([page(), *[None] * 6], 0, "it did not answer for 0.006 s"),
    "has-a-request-that-does-not-move": ([page(1)] * 7, 0, "none of its 1 requests moved for 0.006 s"),
    "seems-to-have-nothing-to-do": ([page()] * 5, 1, "it did not answer a request for one token within 0.003 s"),
    "seems-so-after-looks-without-an-answer": (
        [page(), *[None] * 3, *[page()] * 2],
        1,
        "it did not answer a request for one token within 0.003 s",
    ),
}


@pytest.mark.parametrize(("looks", "asked"), LIVELY.values(), ids=LIVELY)
async def test_an_engine_that_lives_is_left_alone(looks, asked):
    assert await watched(looks, answers=True) == ("it lives", asked)


@pytest.mark.parametrize(("looks", "asked", "told"), HUNG.values(), ids=HUNG)
async def test_an_engine_is_said_to_hang_for_what_was_seen_and_asked(looks, asked, told):
    assert await watched(looks, answers=False) == (told, asked)


async def test_an_engine_that_refuses_the_small_request_lives():
    looks, asked_at = [], []

    async def metrics(_):
        looks.append(1)
        return web.Response(text=PAGE.format(running=0, awake=1, tokens=0, looks=len(looks)))

    async def complete(_):
        asked_at.append(len(looks))
        return web.json_response({"error": "no such model"}, status=404)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.post("/v1/completions", complete)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with open_http(Deadlines()) as http, asyncio.timeout(30):
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        watching = asyncio.create_task(until_hung(url, http, {}, 3.0))
        while not asked_at or len(looks) < asked_at[0] + 2:  # one that did not answer is given up at the next look
            await asyncio.sleep(0.05)
        assert not watching.done()
        watching.cancel()
        await asyncio.wait([watching])
    await runner.cleanup()
