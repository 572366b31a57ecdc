"""What callers of NeMo Gym find at an environment's server, and what its authors find at its base classes."""

import warnings

import pytest
from fastapi.testclient import TestClient
from pydantic import PrivateAttr

from nemo_gym_lite.base_resources_server import (
    BaseMultiRewardVerifyResponse,
    BaseResourcesServerConfig,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import JudgeError
from nemo_gym_lite.server_utils import ServerClient

from .conftest import BlockingVerify, Weather, make


@pytest.fixture
def client():
    with TestClient(make(Weather).build_app()) as client:
        yield client


def test_liveness_says_which_calls_the_environment_needs(client):
    assert client.get("/").json() == {
        "status": "ok",
        "name": "weather",
        "seeds_sessions": True,
        "has_metrics": False,
        "verifies_later": False,
    }


def test_verify_echoes_the_row_with_every_field_that_it_declares(client, row, response):
    reply = client.post("/verify", json={**row, "response": response}).json()

    assert reply["responses_create_params"] | {"input": ""} == {
        **dict.fromkeys(reply["responses_create_params"]),
        "input": "",
        "temperature": 0.5,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    assert reply["response"]["output"] == [response["output"][0] | reply["response"]["output"][0]]
    assert (reply["reward"], reply["expected"]) == (1.0, "fine")
    assert "unknown_to_the_environment" not in reply


def test_a_failed_judge_is_reward_zero_with_its_class_for_callers_of_nemo_gym(client, row, response):
    reply = client.post("/verify", json={**row, "expected": "judge", "response": response})

    assert reply.status_code == 200
    assert reply.json()["reward"] == 0.0
    assert reply.json()["_ng_failure_class"] == "judge_failed"
    assert reply.json()["_ng_failure_judge_error"] == "no judge answered"
    assert reply.json()["expected"] == "judge"


def test_a_default_environment_seeds_nothing_and_cannot_say_whether_it_can_verify_again():
    with TestClient(make(BlockingVerify).build_app()) as client:
        assert client.post("/seed_session", json={"anything": 1}).json() == {}
        assert client.get("/reverify_mode").json() == "unknown"
        assert not client.get("/").json()["seeds_sessions"]


def test_metrics_have_the_shape_of_nemo_gyms():
    rows = [{"_ng_task_index": 0, "_ng_rollout_index": i, "reward": float(i == 1), "ok": i > 0} for i in range(3)]
    with TestClient(make(BlockingVerify).build_app()) as client:
        metrics = client.post("/aggregate_metrics", json={"verify_responses": rows}).json()

    assert metrics["agent_metrics"]["mean/reward"] == pytest.approx(1 / 3)
    assert metrics["key_metrics"]["mean/ok"] == pytest.approx(2 / 3)
    assert metrics["group_level_metrics"][0]["num_rollouts"] == 3


def test_tests_of_an_app_see_what_its_code_raises(row, response):
    with (
        TestClient(make(Weather).setup_webserver()) as client,
        pytest.raises(RuntimeError, match="the checker crashed"),
    ):
        client.post("/verify", json={**row, "expected": "crash", "response": response})


def test_documentation_pages_are_there(client):
    assert "/get_weather" in client.get("/openapi.json").json()["paths"]
    assert client.get("/docs").status_code == 200


def test_an_environment_without_verify_says_so(row, response):
    with (
        TestClient(make(SimpleResourcesServer).setup_webserver()) as client,
        pytest.raises(NotImplementedError, match="SimpleResourcesServer does not define verify"),
    ):
        client.post("/verify", json={**row, "response": response})


def test_a_server_is_made_from_its_block_of_the_configuration():
    block = {"host": "127.0.0.1", "port": 7, "entrypoint": "app.py", "unknown": "ignored"}
    tree = {"wx": {"resources_servers": {"weather": block}}, "head_server": {"host": "h", "port": 5}}

    server = BlockingVerify.from_tree(tree, "wx")

    assert (server.config.name, server.config.port) == ("wx", 7)
    assert server.server_client.head_server_config == HeadServerConfig(host="h", port=5)


def test_names_that_environments_rely_on():
    config = BaseResourcesServerConfig(host="0.0.0.0", port=8080, entrypoint="", name="")
    client = ServerClient(head_server_config=HeadServerConfig(), global_config_dict={})
    server = BlockingVerify(config=config, server_client=client)

    assert server.normalize_tool_name("mcp__server__get_weather") == "get_weather"
    assert server.normalize_tool_name("get_weather") == "get_weather"
    assert server.get_key_metrics({"mean/reward": 1, "max/reward": 2}) == {"mean/reward": 1}
    assert config.REVERIFY_MODE is ReverifyMode.UNKNOWN
    assert BaseMultiRewardVerifyResponse.model_fields["reward_components"].is_required()
    assert issubclass(JudgeError, Exception)


def test_a_server_may_be_declared_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Declared(SimpleResourcesServer):
            config: BaseResourcesServerConfig
            _private: dict = PrivateAttr(default_factory=dict)

    assert Declared.model_fields.keys() == {"config", "server_client"}
