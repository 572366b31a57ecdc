"""How a program finds the servers that run, by NeMo Gym's names."""

import asyncio
import json

import pytest
from omegaconf import DictConfig

from nemo_gym_lite import global_config
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.server_utils import ServerClient, get_server_url
from nemo_gym_lite.serving.head_server import HeadServer

from .conftest import unused_port

TREE = {
    "policy_api_key": "sk-very-secret",
    "policy_model": {"responses_api_models": {"m": {"host": "127.0.0.1", "port": 1}}},
}


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(global_config, "_current", [])
    for variable in ("NEMO_GYM_LITE_CONFIG_FILE", "NEMO_GYM_CONFIG_DICT"):
        monkeypatch.delenv(variable, raising=False)


async def test_a_client_takes_the_configuration_of_the_servers_that_run(project):
    head = HeadServerConfig(port=unused_port())
    async with HeadServer(head, TREE, list):
        client = await asyncio.to_thread(ServerClient.load_from_global_config, head)

    assert client.head_server_config == head
    assert isinstance(client.global_config_dict, DictConfig)
    assert client.global_config_dict.policy_model.responses_api_models.m.port == 1
    assert client.global_config_dict.policy_api_key == "sk-very-secret"


def test_where_nobody_runs_the_address_is_named_in_a_value_error(project):
    head = HeadServerConfig(port=unused_port())

    with pytest.raises(ValueError, match=f"Could not connect to the head server at http://127.0.0.1:{head.port}"):
        ServerClient.load_from_global_config(head)


def test_a_server_has_its_configuration_already(project, monkeypatch):
    path = project.folder / "config.json"
    path.write_text(json.dumps(TREE | {"text": "a ${literal}", "head_server": {"host": "127.0.0.1", "port": 7}}))
    monkeypatch.setenv("NEMO_GYM_LITE_CONFIG_FILE", str(path))

    client = ServerClient.load_from_global_config()

    assert client.head_server_config.port == 7
    assert client.global_config_dict.text == "a ${literal}"
    assert get_server_url("policy_model") == "http://127.0.0.1:1"


def test_a_server_that_nemo_gym_started_finds_its_configuration_too(monkeypatch):
    monkeypatch.setenv("NEMO_GYM_CONFIG_DICT", "a:\n  resources_servers:\n    b: {host: h, port: 2}\n")

    assert get_server_url("a") == "http://h:2"
