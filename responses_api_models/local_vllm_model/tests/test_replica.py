"""One engine: its port is its own, and it is started again when it hangs."""

import asyncio
import os
import signal
import socket
from collections import Counter

import aiohttp
import pytest
from aiohttp import web

from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.client import open_http
from responses_api_models.local_vllm_model.life_signs import until_hung
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
        ("hang now", "none of its 1 requests moved for 0.6 s"),
        ("hang unseen", "it did not answer a request for one token within 0.3 s"),
        ("is stopped", "it did not answer for 0.6 s"),
    ],
)
async def test_an_engine_that_hangs_is_started_again(folder, text, told):
    [plan] = await plans_of(folder)
    shown = []
    async with open_http(Deadlines()) as http:
        replica = Replica(plan, http, shown.append, Patience(hang_s=0.6, backoff_s=0.1, stop_s=0.2))
        await replica.start()
        keeping = asyncio.create_task(replica.keep())
        if text == "is stopped":
            os.kill(engine_pids(folder)[0][0], signal.SIGSTOP)
        with pytest.raises(aiohttp.ClientError):  # whoever waits is let go, and asks another replica
            await http.post(f"{plan.url}/v1/completions", json={"prompt": text})
        async with asyncio.timeout(20):
            while sum("ready at" in line for line in shown) < 2:
                await asyncio.sleep(0.05)
        keeping.cancel()
        await replica.stop()

    assert any(f"replica 1 of policy_model hangs: {told}" in line and "`hang_s`" in line for line in shown), shown
    assert any("restart 1 of 5" in line for line in shown)


LIVELY = {
    "works-through-one-long-prompt": lambda look: PAGE.format(running=1, awake=1, tokens=look // 4, looks=look),
    "has-nothing-to-do-and-answers": lambda look: PAGE.format(running=0, awake=1, tokens=0, looks=look),
    "was-put-to-sleep": lambda look: PAGE.format(running=0, awake=0, tokens=0, looks=look),
    "has-no-figures": lambda look: f"process_cpu_seconds_total {look}",
    "is-too-busy-for-three-looks-of-four": lambda look: None if look % 4 else "",
}


async def test_an_engine_that_lives_is_left_alone():
    looks, asked = Counter(), set()

    async def metrics(request):
        name = request.match_info["name"]
        looks[name] += 1
        page = LIVELY[name](looks[name])
        if page is None:
            await asyncio.sleep(1)
        return web.Response(text=page)

    async def complete(request):
        asked.add(request.match_info["name"])
        return web.json_response({"error": "no such model"}, status=404)

    app = web.Application()
    app.add_routes([web.get("/{name}/metrics", metrics), web.post("/{name}/v1/completions", complete)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with open_http(Deadlines()) as http:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        watching = [asyncio.create_task(until_hung(f"{url}/{name}", http, {}, 0.6)) for name in LIVELY]
        found, _ = await asyncio.wait(watching, timeout=1.5)
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
    await runner.cleanup()

    assert not found
    assert min(looks.values()) > 6
    assert asked == {"has-nothing-to-do-and-answers"}
