"""What is a secret, and what only sounds like one."""

import pytest
from omegaconf import OmegaConf

from nemo_gym_lite.config.masking import is_secret, mask_secrets

SECRETS = """
    api_key apiKey api-key policy_api_key judge_api_key OPENAI_API_KEY openai_api_key wandb_api_key hf_token HF_TOKEN
    token auth_token access_token bearer_token mlflow_tracking_token password db_password passwd secret client_secret
    secret_key AWS_SECRET_ACCESS_KEY credentials authorization Authorization x-api-key X-API-Key
    Ocp-Apim-Subscription-Key api_keys private_key cookie
"""

HARMLESS = """
    max_tokens max_output_tokens max_completion_tokens total_tokens prompt_token_ids generation_token_ids token_ids
    tokenizer tokenizer_path return_token_id_information return_token_ids token_id_capture key_metrics key keys
    subset_key answer_key primary_key pad_token eos_token stop_token tokens_per_second request_prompt_tokens monkey
    keyboard secretary author base_url model passing name cost_per_token
"""


@pytest.mark.parametrize("key", SECRETS.split())
def test_a_secret_is_known_by_its_name(key):
    assert is_secret(key)


@pytest.mark.parametrize("key", HARMLESS.split())
def test_a_name_that_only_sounds_like_a_secret_is_none(key):
    assert not is_secret(key)


def test_values_are_masked_at_any_depth_and_the_rest_is_left():
    tree = {
        "policy_api_key": "sk-1",
        "headers": {"Authorization": "Bearer sk-2", "Accept": "text/plain"},
        "list": [{"password": 7, "max_tokens": 8}],
        "api_keys": ["sk-3", "sk-4"],
        "credentials": {"user": "u", "until": None},
        "token": False,
    }

    assert mask_secrets(tree) == {
        "policy_api_key": "****",
        "headers": {"Authorization": "****", "Accept": "text/plain"},
        "list": [{"password": "****", "max_tokens": 8}],
        "api_keys": ["****", "****"],
        "credentials": {"user": "****", "until": None},
        "token": False,
    }
    assert tree["policy_api_key"] == "sk-1"


def test_a_password_within_a_url_is_masked():
    assert mask_secrets({"base_url": "https://me:pw@host/v1"}) == {"base_url": "https://****@host/v1"}


def test_interpolated_secrets_are_masked_where_they_land():
    tree = OmegaConf.create({"policy_api_key": "sk-1", "model": {"api_key": "${policy_api_key}"}})

    assert mask_secrets(tree) == {"policy_api_key": "****", "model": {"api_key": "****"}}
