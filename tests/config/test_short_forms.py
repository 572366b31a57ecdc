"""The short form of a vLLM model means the policy model."""

import pytest
from pydantic import BaseModel

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.short_forms import serve_command
from nemo_gym_lite.errors import ConfigError

SHORT = """
    vllm_model:
      model_name: meta-llama/Llama-3.1-70B-Instruct
      tensor_parallel_size: 1
      gpu_memory_utilization: 0.95
      max_model_len: 8192
      max_num_batched_tokens: 8192
      dtype: auto
"""


class NoOptions(BaseModel):
    """A command without options."""


def test_with_an_address_it_becomes_the_policy_model(write):
    write("my_vllm.yaml", SHORT)
    write("env.yaml", "policy_base_url: http://a:8000/v1,http://b:8000/v1")

    composed = compose(["+config_paths=[my_vllm.yaml]"], NoOptions)

    (model,) = composed.servers
    assert (model.name, model.implementation) == ("policy_model", "vllm_model")
    assert model.config["model"] == "meta-llama/Llama-3.1-70B-Instruct"
    assert model.config["base_url"] == "http://a:8000/v1,http://b:8000/v1"
    assert model.config["api_key"] == "EMPTY"
    assert "vllm_model" not in composed.tree


def test_keys_of_the_user_win_over_what_it_stands_for(write):
    write("my_vllm.yaml", SHORT)
    write("env.yaml", "{policy_base_url: http://a/v1, policy_api_key: sk-1}")

    (model,) = compose(
        ["+config_paths=[my_vllm.yaml]", "+policy_model.responses_api_models.vllm_model.uses_reasoning_parser=false"],
        NoOptions,
    ).servers

    assert model.config["api_key"] == "sk-1"
    assert model.config["uses_reasoning_parser"] is False


def test_without_an_address_the_error_says_how_to_start_the_engine(write):
    write("my_vllm.yaml", SHORT)

    with pytest.raises(ConfigError, match="policy_base_url") as caught:
        compose(["+config_paths=[my_vllm.yaml]"], NoOptions)

    assert (
        "vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 1 --gpu-memory-utilization 0.95 "
        "--max-model-len 8192 --max-num-batched-tokens 8192 --dtype auto\n"
    ) in caught.value.hint


def test_switches_lists_and_mappings_are_spelt_as_vllm_reads_them():
    arguments = {
        "enable_prefix_caching": True,
        "enforce_eager": False,
        "revision": None,
        "middleware": ["a", "b"],
        "override_generation_config": {"top_p": 0.9},
    }

    assert serve_command("my model", arguments) == (
        "vllm serve 'my model' --enable-prefix-caching --no-enforce-eager --middleware a b "
        "--override-generation-config '{\"top_p\": 0.9}'"
    )
