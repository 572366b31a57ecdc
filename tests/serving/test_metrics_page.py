"""What a server and a run tell Prometheus."""

import aiohttp
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.families import of_vitals, page
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.routing.call_stats import CallStats
from nemo_gym_lite.routing.snapshot import EndpointSnapshot
from nemo_gym_lite.serving.exporter import Exporter
from nemo_gym_lite.serving.metrics_page import MetricsMiddleware, ServerMetrics

from .conftest import Weather, make, serving

A = "http://127.0.0.1:8000/v1"


def samples(text):
    """Every sample of a page by its name and labels, in one text."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}"
            assert key not in found, "a series that is there twice"
            found[key] = sample.value
    return found


@pytest.fixture
def client():
    with TestClient(make(Weather).build_app(), raise_server_exceptions=False) as client:
        yield client


def test_requests_are_counted_by_route_and_status_and_timed(client):
    for _ in range(3):
        client.post("/get_weather", json={"city": "Bern"})
    client.post("/get_weather", json={"town": "Bern"})
    client.post("/explode", json={})
    client.post("/ng-rollout/r1/echo", json={})

    page_of = samples(client.get("/metrics").text)
    assert page_of["nemo_gym_server_requests_total{route=/get_weather,status=200}"] == 3
    assert page_of["nemo_gym_server_requests_total{route=/get_weather,status=422}"] == 1
    assert page_of["nemo_gym_server_requests_total{route=/explode,status=500}"] == 1
    assert page_of["nemo_gym_server_requests_total{route=/echo,status=200}"] == 1
    assert page_of["nemo_gym_server_request_seconds_bucket{le=+Inf,route=/get_weather}"] == 4
    assert page_of["nemo_gym_server_request_seconds_count{route=/get_weather}"] == 4
    assert 0 < page_of["nemo_gym_server_request_seconds_sum{route=/get_weather}"] < 60
    assert page_of["nemo_gym_event_loop_lag_seconds{}"] >= 0


def test_names_that_a_model_makes_up_make_no_series(client):
    for number in range(50):
        client.post(f"/no_such_tool_{number}", json={})
        client.post(f"/any/{number}", json={})

    routes = {key for key in samples(client.get("/metrics").text) if "requests_total" in key}
    assert routes == {"nemo_gym_server_requests_total{route=other,status=200}"}


def test_a_tool_called_metrics_is_still_a_tool(client):
    assert client.post("/metrics", json={"a": 1}).json() == {"path": "/metrics", "body": {"a": 1}}


def test_a_server_with_a_metrics_page_of_its_own_keeps_it():
    app = FastAPI()
    app.get("/metrics")(lambda: "mine")
    app.add_middleware(MetricsMiddleware, metrics=ServerMetrics(Vitals))
    with TestClient(app) as client:
        assert client.get("/metrics").json() == "mine"


def test_endpoints_and_calls_are_told_with_their_state_and_as_histogram():
    calls = CallStats()
    for latency_s in (0.002, 0.5, 5000.0):
        calls.add(latency_s, {"prompt_tokens": 10, "completion_tokens": 4})
    calls.add_failure("rate_limited", busy=True)
    endpoint = EndpointSnapshot(A, "down", 3, 2, 40, 7, 0.5, "it's dead")

    found = samples(page(of_vitals(Vitals({"policy_model": [endpoint]}, calls, [], 0.25))).decode())
    where = f"endpoint={A},model=policy_model"
    assert found[f"nemo_gym_endpoint_state{{{where},state=down}}"] == 1
    assert found[f"nemo_gym_endpoint_state{{{where},state=up}}"] == 0
    assert found[f"nemo_gym_endpoint_in_flight{{{where}}}"] == 3
    assert found["nemo_gym_model_requests_total{outcome=answered}"] == 3
    assert found["nemo_gym_model_requests_total{outcome=rate_limited}"] == 1
    assert found["nemo_gym_model_tokens_total{kind=output}"] == 12
    assert found["nemo_gym_model_request_seconds_bucket{le=0.001}"] == 0
    assert found["nemo_gym_model_request_seconds_bucket{le=0.63}"] == 2
    assert found["nemo_gym_model_request_seconds_bucket{le=+Inf}"] == 3
    assert found["nemo_gym_event_loop_lag_seconds{}"] == 0.25


async def read(url):
    async with aiohttp.ClientSession() as http, http.get(url) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return samples(await reply.text())


async def test_all_servers_are_on_one_page_each_under_its_name():
    async with serving(make(Weather).build_app()) as one, serving(make(Weather).build_app()) as other:
        own = GaugeMetricFamily("nemo_gym_own", "Ours", value=5)
        urls = {"weather": one, "more_weather": other, "gone": "http://127.0.0.1:9"}
        async with Exporter(0, lambda: urls, lambda: [own]) as exporter:
            async with aiohttp.ClientSession() as http:
                await (await http.post(f"{one}/echo", json={})).read()
            found = await read(exporter.url)

    assert found["nemo_gym_own{}"] == 5
    assert found["nemo_gym_server_requests_total{route=/echo,server=weather,status=200}"] == 1
    assert found["nemo_gym_event_loop_lag_seconds{server=more_weather}"] >= 0
    assert [found[f"nemo_gym_server_up{{server={name}}}"] for name in urls] == [1, 1, 0]


async def test_a_page_that_is_none_costs_the_others_nothing():
    app = FastAPI()
    app.get("/metrics")(lambda: {"this is": "no { metrics page"})
    async with (
        serving(app) as odd,
        serving(make(Weather).build_app()) as weather,
        Exporter(0, lambda: {"odd": odd, "weather": weather}) as exporter,
    ):
        found = await read(exporter.url)

    assert found["nemo_gym_server_up{server=odd}"] == 1
    assert found["nemo_gym_event_loop_lag_seconds{server=weather}"] >= 0


async def test_a_port_in_use_is_told_before_anything_is_played():
    async with Exporter(0) as first:
        port = int(first.url.split(":")[2].split("/")[0])
        with pytest.raises(ConfigError, match=rf"metrics_port: cannot listen on 127.0.0.1:{port}: .*in use"):
            await Exporter(port).__aenter__()
