"""What the counter environment promises: a counter belongs to its session and to no other."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.session_counter.app import (
    SessionCounterResourcesServer,
    SessionCounterResourcesServerConfig,
)

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
RESPONSE = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": []}


def make_app(**settings):
    here = BaseServerConfig(host="127.0.0.1", port=1)
    config = SessionCounterResourcesServerConfig(
        host="127.0.0.1", port=1, entrypoint="app.py", name="session_counter", **settings
    )
    neighbours = ServerClient(head_server_config=here, global_config_dict=OmegaConf.create({}))
    return SessionCounterResourcesServer(config=config, server_client=neighbours).setup_webserver()


@pytest.fixture
def app():
    return make_app()


def session(app, initial_value):
    """A client whose session holds `initial_value`; its cookies are its own."""
    client = TestClient(app)
    assert client.post("/seed_session", json={"initial_value": initial_value}).status_code == 200
    return client


def value(client):
    return client.post("/get_value", json={}).json()["value"]


def verify(client, expected_value):
    row = {"responses_create_params": {"input": "count"}, "response": RESPONSE}
    return client.post("/verify", json=row | {"expected_value": expected_value})


def test_a_session_starts_with_the_value_of_its_row(app):
    assert value(session(app, 7)) == 7


def test_increments_add_up_and_may_be_negative(app):
    client = session(app, 7)
    assert client.post("/increment", json={"by": 5}).json() == {"added": 5}
    client.post("/increment", json={"by": -2})
    assert value(client) == 10


def test_sessions_do_not_see_each_other(app):
    one, other = session(app, 0), session(app, 100)
    one.post("/increment", json={"by": 1})
    other.post("/increment", json={"by": 10})
    assert (value(one), value(other)) == (1, 110)


def test_the_expected_value_earns_1_and_another_0(app):
    assert verify(session(app, 7), 7).json()["reward"] == 1.0
    reply = verify(session(app, 7), 8).json()
    assert (reply["reward"], reply["value"], reply["num_tool_calls"]) == (0.0, 7, 0)


@pytest.mark.parametrize("by", [1.5, "much", None, 10_000])
def test_what_is_no_whole_number_in_range_is_refused_and_changes_nothing(app, by):
    client = session(app, 7)
    assert client.post("/increment", json={"by": by}).status_code == 422
    assert value(client) == 7


def test_without_its_cookie_a_session_has_no_counter(app):
    session(app, 7)
    stranger = TestClient(app)
    reply = stranger.post("/increment", json={"by": 1})
    assert reply.status_code == 409
    assert "never seeded" in reply.json()["detail"]


def test_a_lost_session_is_an_error_and_not_reward_0(app):
    assert verify(TestClient(app), 7).status_code == 409


def test_a_verified_session_is_forgotten(app):
    client = session(app, 7)
    assert verify(client, 7).status_code == 200
    assert verify(client, 7).status_code == 409


def test_a_row_without_an_initial_value_cannot_be_seeded(app):
    assert TestClient(app).post("/seed_session", json={"expected_value": 7}).status_code == 422


def test_abandoned_counters_are_dropped_oldest_first():
    app = make_app(max_sessions=2)
    first, second, third = (session(app, start) for start in (1, 2, 3))
    assert first.post("/get_value", json={}).status_code == 409
    assert (value(second), value(third)) == (2, 3)


def test_the_data_holds_at_least_24_tasks():
    asked = {(row["responses_create_params"]["input"][-1]["content"], row["initial_value"]) for row in ROWS}
    assert len(asked) == len(ROWS) >= 24


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_task_offers_both_tools_and_can_be_solved(app, row):
    tools = row["responses_create_params"]["tools"]
    assert [tool["name"] for tool in tools] == ["increment", "get_value"]
    client = session(app, row["initial_value"])
    client.post("/increment", json={"by": row["expected_value"] - row["initial_value"]})
    assert verify(client, row["expected_value"]).json()["reward"] == 1.0
