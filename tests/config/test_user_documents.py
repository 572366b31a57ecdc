"""Every kind of command line and YAML block of the user's documents composes as written."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.roots import INSTALL_ROOT
from nemo_gym_lite.rollouts.options import CollectOptions

MODELS = "responses_api_models/vllm_model/configs"
WEATHER = "resources_servers/simple_weather/configs/simple_weather.yaml"
POLICY = """
    policy_base_url: http://vllm-1:8000/v1,http://vllm-2:8000/v1,http://vllm-3:8000/v1
    policy_api_key: EMPTY
    policy_model_name: meta-llama/Llama-3.1-8B-Instruct
"""
JUDGE = """
    policy_base_url: http://policy-server:8000/v1
    policy_api_key: EMPTY
    policy_model_name: meta-llama/Llama-3.1-70B-Instruct
    judge_base_url: http://judge-server:8000/v1
    judge_api_key: EMPTY
    judge_model_name: Qwen/Qwen3-30B-A3B
"""
COMMANDS = [
    (
        "+agent_name=openai_agent +input_jsonl_fpath=tasks.jsonl +output_jsonl_fpath=rollouts.jsonl "
        "+responses_create_params.model=gpt-4o-mini +responses_create_params.temperature=0.3 "
        "+responses_create_params.max_output_tokens=512 +num_samples_in_parallel=8"
    ),
    (
        "+agent_name=my_agent +input_jsonl_fpath=train.jsonl +output_jsonl_fpath=rollouts.jsonl "
        "+responses_create_params.max_output_tokens=1024 +num_samples_in_parallel=20 +limit=null"
    ),
    (
        "+agent_name=azure_agent +input_jsonl_fpath=tasks.jsonl +output_jsonl_fpath=rollouts.jsonl "
        "+responses_create_params.temperature=0.2 +num_samples_in_parallel=5 +limit=1000"
    ),
    "+agent_name=my_agent +input_jsonl_fpath=chunk_00.jsonl +output_jsonl_fpath=rollouts_00.jsonl",
    (
        f"+agent_name=simple_weather_simple_agent +input_jsonl_fpath={Path(WEATHER).parents[1]}/data/example.jsonl "
        "+output_jsonl_fpath=results/vllm_rollouts.jsonl +limit=1000 +concurrency=100"
    ),
    "+agent_name=my_agent +input_jsonl_fpath=remaining.jsonl +output_jsonl_fpath=rollouts.jsonl +limit=4568",
]


class NoOptions(BaseModel):
    """A command without options."""


@pytest.mark.parametrize("line", COMMANDS)
def test_collection_commands_are_understood(write, line):
    write("env.yaml", 'OPENAI_API_KEY: "sk-proj-..."')

    options = compose(line.split(), CollectOptions, needs_servers=False).options

    assert options.agent_name.endswith("agent")
    assert options.limit in {None, 1000, 4568}


def test_concurrency_is_the_number_in_parallel(write):
    assert compose(COMMANDS[4].split(), CollectOptions, needs_servers=False).options.num_samples_in_parallel == 100


def test_request_parameters_reach_the_options_as_numbers_and_text(write):
    parameters = compose(COMMANDS[0].split(), CollectOptions, needs_servers=False).options.responses_create_params

    assert parameters == {"model": "gpt-4o-mini", "temperature": 0.3, "max_output_tokens": 512}


def test_the_service_tier_may_stand_in_a_file(write):
    write("azure.yaml", 'responses_create_params:\n  service_tier: "scale"  # Options: auto, default, flex, scale\n')

    composed = compose(["+config_paths=[azure.yaml]", *COMMANDS[2].split()], CollectOptions, needs_servers=False)

    assert composed.options.responses_create_params == {"service_tier": "scale", "temperature": 0.2}


@pytest.mark.parametrize("kind", ["vllm_model", "openai_model"])
def test_a_model_is_switched_by_changing_one_path(write, kind):
    write("env.yaml", POLICY)
    model = f"responses_api_models/{kind}/configs/{kind}.yaml"

    composed = compose([f"+config_paths=[{model},\\\n{WEATHER}]".replace("\\\n", "")], NoOptions)

    servers = {server.name: server.implementation for server in composed.servers}
    assert servers["policy_model"] == kind
    assert servers["simple_weather_simple_agent"] == "simple_agent"


def test_policy_and_judge_have_servers_of_their_own(write):
    write("env.yaml", JUDGE)

    composed = compose(
        [f"+config_paths=[{MODELS}/vllm_model.yaml,{MODELS}/vllm_judge_model.yaml,{WEATHER}]"], NoOptions
    )

    servers = {server.name: server.config for server in composed.servers}
    assert servers["policy_model"]["base_url"] == "http://policy-server:8000/v1"
    assert servers["judge_model"]["model"] == "Qwen/Qwen3-30B-A3B"


def test_a_list_of_urls_may_stand_in_the_block(write):
    write("env.yaml", POLICY)
    write(
        "model.yaml",
        """
        policy_model:
          responses_api_models:
            vllm_model:
              entrypoint: app.py
              base_url:
                - http://vllm-1:8000/v1
                - http://vllm-2:8000/v1
              api_key: ${policy_api_key}
              model: ${policy_model_name}
        """,
    )

    (model,) = compose(["+config_paths=[model.yaml]"], NoOptions).servers

    assert model.config["base_url"] == ["http://vllm-1:8000/v1", "http://vllm-2:8000/v1"]
    assert model.config["model"] == "meta-llama/Llama-3.1-8B-Instruct"


@pytest.mark.parametrize(
    "path",
    [str(path.relative_to(INSTALL_ROOT)) for path in sorted(INSTALL_ROOT.glob("resources_servers/*/configs/*.yaml"))],
)
def test_every_shipped_environment_composes(write, path):
    write("env.yaml", JUDGE)

    composed = compose([f"+config_paths=[{MODELS}/vllm_model.yaml,{MODELS}/vllm_judge_model.yaml,{path}]"], NoOptions)

    assert {server.server_type for server in composed.servers} >= {"resources_servers", "responses_api_agents"}
