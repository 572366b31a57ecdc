"""What the weather environment promises: the tool's answers, and what counts as having reported them."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.simple_weather.app import (
    SimpleWeatherResourcesServer,
    SimpleWeatherResourcesServerConfig,
    weather_of,
)

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]


@pytest.fixture
def client():
    here = BaseServerConfig(host="127.0.0.1", port=1)
    config = SimpleWeatherResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="simple_weather")
    neighbours = ServerClient(head_server_config=here, global_config_dict=OmegaConf.create({}))
    server = SimpleWeatherResourcesServer(config=config, server_client=neighbours)
    with TestClient(server.setup_webserver()) as client:
        yield client


def call(city, name="get_weather"):
    return {
        "type": "function_call",
        "name": name,
        "call_id": city,
        "arguments": city if city.startswith("{") else json.dumps({"city": city}),
    }


def output(city):
    return {"type": "function_call_output", "call_id": city, "output": weather_of(city).model_dump_json()}


def message(text):
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def report(*cities):
    """What an honest model would say."""
    found = [weather_of(city) for city in cities]
    return " ".join(f"It is {w.temperature_c} °C with {w.conditions.title()} in {w.city}." for w in found)


def verdict(client, *items, cities=("Paris",)):
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": list(items)}
    row = {"responses_create_params": {"input": "how is it?"}, "response": response, "cities": list(cities)}
    reply = client.post("/verify", json=row)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_the_tool_reports_the_same_weather_for_the_same_city(client):
    first = client.post("/get_weather", json={"city": "Paris"})
    assert first.status_code == 200
    assert first.json() == client.post("/get_weather", json={"city": "Paris"}).json()
    assert set(first.json()) == {"city", "temperature_c", "conditions"}


def test_case_space_and_country_do_not_change_the_weather(client):
    plain = client.post("/get_weather", json={"city": "Paris"}).json()
    other = client.post("/get_weather", json={"city": " PARIS, France "}).json()
    assert other["temperature_c"] == plain["temperature_c"]
    assert other["conditions"] == plain["conditions"]


@pytest.mark.parametrize("arguments", [{}, {"city": ""}, {"city": 7}, {"town": "Paris"}])
def test_wrong_arguments_are_answered_with_what_is_wrong(client, arguments):
    reply = client.post("/get_weather", json=arguments)
    assert reply.status_code == 422
    assert "city" in reply.text


def test_asking_the_tool_and_reporting_its_answer_earns_1(client):
    assert verdict(client, call("Paris"), output("Paris"), message(report("Paris")))["reward"] == 1.0


def test_a_report_without_asking_the_tool_earns_0(client):
    reply = verdict(client, message(report("Paris")))
    assert (reply["reward"], reply["num_tool_calls"], reply["num_cities_called"]) == (0.0, 0, 0)


def test_the_weather_of_another_city_earns_0(client):
    reply = verdict(client, call("Rome"), output("Rome"), message(report("Rome")))
    assert (reply["reward"], reply["num_tool_calls"], reply["num_cities_called"]) == (0.0, 1, 0)


def test_a_call_without_a_report_earns_0(client):
    assert verdict(client, call("Paris"), output("Paris"))["reward"] == 0.0
    assert verdict(client, call("Paris"), output("Paris"), message("It is nice."))["reward"] == 0.0


def test_a_temperature_that_only_contains_the_digits_is_another_temperature(client):
    weather = weather_of("Paris")
    for wrong in (f"1{weather.temperature_c}", f"{weather.temperature_c}5", f"{weather.temperature_c}.5"):
        said = f"{wrong} °C, {weather.conditions}"
        assert verdict(client, call("Paris"), output("Paris"), message(said))["reward"] == 0.0


def test_a_sentence_may_end_with_the_temperature(client):
    weather = weather_of("Paris")
    said = f"{weather.conditions}, {weather.temperature_c}."
    assert verdict(client, call("Paris"), output("Paris"), message(said))["reward"] == 1.0


def test_every_city_of_the_task_must_be_asked_for_and_reported(client):
    both = ("Rome", "Vienna")
    calls = [call("Rome"), call("Vienna"), output("Rome"), output("Vienna")]
    assert verdict(client, *calls, message(report(*both)), cities=both)["reward"] == 1.0
    half = verdict(client, call("Rome"), output("Rome"), message(report("Rome")), cities=both)
    assert (half["reward"], half["num_cities_reported"]) == (0.0, 1)


@pytest.mark.parametrize("arguments", ["{", "{}", '{"city": ["Paris"]}', '{"city": null}'])
def test_malformed_arguments_of_a_call_count_as_a_call_of_no_city(client, arguments):
    reply = verdict(client, call(arguments), message(report("Paris")))
    assert (reply["reward"], reply["num_tool_calls"], reply["num_cities_called"]) == (0.0, 1, 0)


def test_calls_of_other_tools_do_not_count(client):
    reply = verdict(client, call("Paris", name="get_time"), message(report("Paris")))
    assert (reply["reward"], reply["num_tool_calls"]) == (0.0, 0)


def test_a_row_that_names_no_city_is_an_error_and_not_reward_0(client):
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": []}
    row = {"responses_create_params": {"input": "?"}, "response": response, "cities": []}
    assert client.post("/verify", json=row).status_code == 422


def test_the_data_holds_at_least_24_different_tasks():
    asked = {row["responses_create_params"]["input"][-1]["content"] for row in ROWS}
    assert len(asked) == len(ROWS) >= 24


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_task_names_its_cities_offers_the_tool_and_can_be_solved(client, row):
    params = row["responses_create_params"]
    assert [tool["name"] for tool in params["tools"]] == ["get_weather"]
    assert params["tools"][0]["strict"] is True
    assert all(city in params["input"][-1]["content"] for city in row["cities"])
    calls = [call(city) for city in row["cities"]]
    assert verdict(client, *calls, message(report(*row["cities"])), cities=row["cities"])["reward"] == 1.0
