"""What engines say of themselves: vLLM's own pages, and endpoints that have none."""

import asyncio

from aiohttp import web

from nemo_gym_lite.routing.admission import EngineReading
from nemo_gym_lite.routing.engine_metrics import EngineMetrics, page_url, read_page
from responses_api_models.simulated_model.server import running_engine
from responses_api_models.simulated_model.settings import EngineSettings, Latency
from tests.routing.conftest import FastClock

PAGE = b"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny {7}"} 12.0
vllm:num_requests_waiting{engine="0",model_name="tiny {7}"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 3.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.4375
vllm:num_preemptions_total{engine="0",model_name="tiny"} 1.2e+02
vllm:num_preemptions_created{engine="0",model_name="tiny"} 1.7952014593822858e+09
vllm:request_num_preemptions_count{engine="0",model_name="tiny"} 428.0
"""


def test_a_page_of_vllm_is_read():
    assert read_page(PAGE) == EngineReading(12, 3, 0.4375, 120)


def test_engines_behind_one_address_add_up_and_the_fullest_cache_counts():
    second = PAGE.replace(b'engine="0"', b'engine="1"').replace(b"0.4375", b"0.9")

    assert read_page(PAGE + second) == EngineReading(24, 6, 0.9, 240)


def test_a_page_of_something_else_says_nothing():
    assert read_page(b"") is None
    assert read_page(b"<html>vllm:num_requests_running 3</html>") is None
    assert read_page(b"python_gc_objects_collected_total 3.0\n") is None


def test_the_page_is_beside_the_interface():
    assert page_url("http://127.0.0.1:8000/v1") == "http://127.0.0.1:8000/metrics"
    assert page_url("http://127.0.0.1:8000/v1/") == "http://127.0.0.1:8000/metrics"
    assert page_url("https://host/engine") == "https://host/engine/metrics"


async def test_running_engines_are_asked_and_silence_is_told_apart(http, dead_url):
    slow = EngineSettings(slots=2, latency=Latency(ttft_s=30))
    async with running_engine(slow) as engine:
        body = {"messages": [{"role": "user", "content": "hello"}]}
        calls = [asyncio.ensure_future(http.post(f"{engine.base_url}/chat/completions", json=body)) for _ in range(5)]
        while engine.scheduler.running + engine.scheduler.waiting < 5:
            await asyncio.sleep(0.01)
        readings = await EngineMetrics(http, FastClock().now).read([engine.base_url, dead_url])
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    assert readings == {engine.base_url: EngineReading(2, 3, 0.0, 0), dead_url: None}


async def test_an_interface_without_the_page_is_not_asked_every_second(http):
    asked = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    now_s = 0.0
    metrics = EngineMetrics(http, lambda: now_s)
    for second in range(130):
        now_s = second
        assert await metrics.read([url]) == {url: None}
    await runner.cleanup()

    assert asked == ["/metrics"] * 3
