"""The engine as a model server of a run: near and far are the same, and the process is there for both."""

import socket

import pytest

from nemo_gym_lite.config.servers import ServerInstance, server_instances
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ConfigError, FailedCallError
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.far_model import FarModel
from nemo_gym_lite.serving.launcher import Launcher
from responses_api_models.simulated_model.app import SimulatedModel, SimulatedModelConfig
from responses_api_models.simulated_model.settings import EngineSettings

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
TURNS = [
    {"input": "hi", "temperature": 0},
    {"input": "Look around.", "tools": [TOOL], "temperature": 0},
    {"input": "hi", "max_output_tokens": 2, "temperature": 0},
    {"input": "far too long " * 4000, "temperature": 0},
]


def tree_of(**settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    block = {"entrypoint": "app.py", "host": "127.0.0.1", "port": port, **settings}
    return {"policy_model": {"responses_api_models": {"simulated_model": block}}}


def instance_of(tree) -> ServerInstance:
    (instance,) = server_instances(tree)
    return instance


def without_ids(response):
    """A response without what is drawn anew for each."""
    if isinstance(response, list):
        return [without_ids(item) for item in response]
    if not isinstance(response, dict):
        return response
    fresh = ("id", "call_id", "created_at")
    return {name: without_ids(value) for name, value in response.items() if name not in fresh}


async def test_near_and_far_give_the_same_turns():
    tree = tree_of(engine={"max_model_len": 5000})
    instance = instance_of(tree)
    deadlines = Deadlines()
    async with Launcher([instance], tree), open_http(deadlines) as http:
        near = SimulatedModel.near_client(instance, http, deadlines)
        far = FarModel(instance.url, http, deadlines)
        for params in TURNS:
            answers = [await model.respond(params, "session") for model in (near, far)]
            assert without_ids(answers[0]) == without_ids(answers[1])
            assert answers[0]["model"] == "simulated"
        async with http.get(f"{instance.url}/simulator/stats?sessions") as reply:
            counted = await reply.json()
        assert counted["sessions"] == {"session": 2 * len(TURNS)}


async def test_a_failure_keeps_its_class_across_the_hop():
    tree = tree_of(engine={"faults": {"server_error": 1.0}}, routing={"attempts": 1})
    instance = instance_of(tree)
    async with Launcher([instance], tree), open_http() as http:
        with pytest.raises(FailedCallError) as failed:
            await FarModel(instance.url, http, Deadlines()).respond({"input": "hi"}, "s")
    assert failed.value.failure_class == "server_error"


def config(**settings) -> SimulatedModelConfig:
    block = {"name": "policy_model", "entrypoint": "app.py", "host": "127.0.0.1", "port": 1234, **settings}
    return SimulatedModelConfig.of_instance(block)


def test_the_model_is_served_by_itself_under_its_own_name():
    given = config(model="tiny")

    assert given.base_url == ["http://127.0.0.1:1234/v1"]
    assert given.engine_settings().models == ("tiny",)


def test_answer_keys_are_looked_for_in_the_search_roots():
    known = "resources_servers/gsm8k/data/example.jsonl"
    found = config(engine=EngineSettings(answer_keys=[known])).engine_settings().answer_keys
    assert found[0].is_file()

    with pytest.raises(ConfigError, match=r"nowhere\.jsonl"):
        config(engine=EngineSettings(answer_keys=["nowhere.jsonl"])).engine_settings()


@pytest.mark.parametrize(
    "wrong", [{"engine": {"slotz": 4}}, {"engin": {}}, {"is_responses_native": True}, {"engine": {"accuracy": 7}}]
)
def test_settings_that_make_no_sense_are_configuration_errors(wrong):
    with pytest.raises(ConfigError):
        config(**wrong)
