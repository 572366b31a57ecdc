"""What a model's configuration accepts, and what it says about the rest."""

import pickle
from types import SimpleNamespace

import pytest
import yaml

from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ConfigError
from responses_api_models.openai_model.app import OpenAIModelConfig
from responses_api_models.vllm_model.app import VLLMModel, VLLMModelConfig

BLOCK = {"name": "policy_model", "host": "127.0.0.1", "port": 1, "entrypoint": "app.py", "model": "tiny"}


def vllm(**settings):
    return VLLMModelConfig.of_instance({**BLOCK, "base_url": "http://a/v1", **settings})


@pytest.mark.parametrize(
    "base_url",
    ["http://a/v1,http://b/v1", " http://a/v1/ , http://b/v1,", ["http://a/v1", "http://b/v1", "http://a/v1"]],
)
def test_several_endpoints_are_a_comma_string_or_a_list(base_url):
    assert vllm(base_url=base_url).base_url == ["http://a/v1", "http://b/v1"]


@pytest.mark.parametrize(
    "base_url", ["", [], "localhost:8000", 7, [7], "http://a/v1,b:80", "http:///v1", "http://a:99999", "http://[::1"]
)
def test_what_is_no_url_is_named(base_url):
    with pytest.raises(ConfigError, match="base_url"):
        vllm(base_url=base_url)


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="base_url 'http://a/v1' holds a name or password") as caught:
        vllm(base_url="http://me:hunter2@a/v1")

    assert "hunter2" not in str(caught.value)


def test_an_unknown_key_is_an_error_that_names_the_nearest_one():
    with pytest.raises(ConfigError) as caught:
        vllm(use_reasoning_parser=True)

    assert "server `policy_model`: unknown key `use_reasoning_parser`" in str(caught.value)
    assert "did you mean `uses_reasoning_parser`" in caught.value.hint
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_wrong_value_is_an_error_without_a_traceback_into_pydantic():
    with pytest.raises(ConfigError, match=r"routing\.attempts.*got 0"):
        vllm(routing={"attempts": 0})


def test_keys_of_every_server_and_of_nemo_gym_are_accepted():
    vllm(
        num_workers=2,
        placement="near",
        description="policy",
        domain="math",
        request_prompt_and_generation_token_ids=True,
        use_completions_api=False,
        tokenizer=None,
    )


def test_what_is_not_supported_is_refused_and_not_ignored():
    with pytest.raises(ConfigError, match="use_completions_api"):
        vllm(use_completions_api=True)
    with pytest.raises(ConfigError, match="is_responses_native excludes return_token_id_information"):
        vllm(is_responses_native=True, return_token_id_information=True)


def test_secrets_do_not_show_in_a_printed_configuration():
    assert "hunter2" not in repr(vllm(api_key="hunter2", default_headers={"X-Key": "hunter2"}))


def test_an_empty_openai_key_says_where_to_put_one():
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAIModelConfig.of_instance({**BLOCK_OPENAI, "openai_api_key": ""})


BLOCK_OPENAI = {**{key: BLOCK[key] for key in ("name", "host", "port", "entrypoint")}, "openai_base_url": "http://o"}


async def test_a_near_model_keeps_its_own_deadlines_and_routing(http):
    instance = SimpleNamespace(
        config={**BLOCK, "base_url": "http://a", "deadlines": {"call_s": 7}, "routing": {"attempts": 2}}
    )
    client = VLLMModel.near_client(instance, http, Deadlines())

    assert client.router._policy.attempts == 2
    assert next(iter(client.router._endpoints.values()))._timeout.total == 7


def test_every_shipped_configuration_fits_its_server(pytestconfig):
    folder = pytestconfig.rootpath / "responses_api_models" / "vllm_model" / "configs"
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        for name, block in yaml.safe_load(path.read_text()).items():
            settings = block["responses_api_models"]["vllm_model"] | {"base_url": "http://a/v1"}
            VLLMModelConfig.of_instance({**BLOCK, **settings, "name": name})
            found[path.name] = name

    assert found == {
        "vllm_judge_model.yaml": "judge_model",
        "vllm_model.yaml": "policy_model",
        "vllm_model_for_training.yaml": "policy_model",
    }
