"""The short form of a vLLM model means the policy model."""

from pydantic import BaseModel

from nemo_gym_lite.config.compose import compose

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


def test_without_an_address_the_run_starts_the_engine_itself(write):
    write("my_vllm.yaml", SHORT)
    write("env.yaml", "")

    (model,) = compose(["+config_paths=[my_vllm.yaml]"], NoOptions).servers

    assert (model.name, model.implementation) == ("policy_model", "local_vllm_model")
    assert model.config["model"] == "meta-llama/Llama-3.1-70B-Instruct"
    assert model.config["engine_args"] == {
        "enable_auto_tool_choice": True,
        "tool_call_parser": "hermes",
        "tensor_parallel_size": 1,
        "gpu_memory_utilization": 0.95,
        "max_model_len": 8192,
        "max_num_batched_tokens": 8192,
        "dtype": "auto",
    }
    assert len(set(model.config["engine_ports"]) - {model.port}) == 1


def test_settings_of_the_server_stand_beside_those_of_the_engine(write):
    write(
        "my_vllm.yaml", "vllm_model: {model_name: llama, num_replicas: 3, api_key: sk-1, tool_call_parser: llama3_json}"
    )
    write("env.yaml", "")

    (model,) = compose(["+config_paths=[my_vllm.yaml]"], NoOptions).servers

    assert (model.config["num_replicas"], model.config["api_key"]) == (3, "sk-1")
    assert len(set(model.config["engine_ports"])) == 3
    assert model.config["engine_args"] == {"enable_auto_tool_choice": True, "tool_call_parser": "llama3_json"}


def test_settings_hold_for_an_engine_that_runs_already(write):
    write(
        "my_vllm.yaml", "vllm_model: {model_name: llama, api_key: sk-1, return_token_id_information: true, dtype: auto}"
    )
    write("env.yaml", "policy_base_url: http://a/v1")

    (model,) = compose(["+config_paths=[my_vllm.yaml]"], NoOptions).servers

    assert (model.config["api_key"], model.config["return_token_id_information"]) == ("sk-1", True)
    assert "dtype" not in model.config
