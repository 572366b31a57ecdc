"""What an output was begun with: what has to stay the same, what may change, and what is not written down."""

from pathlib import Path

import pytest

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.manifest import flatten, refuse_changes, what_decides

SETTINGS = {
    "model": "tiny",
    "engine_args": {"max_model_len": 2048, "max_num_seqs": 64, "hf_token": "hf_private"},
    "model_server": {"type": "responses_api_models", "name": "policy_model"},
    "env_vars": {"HF_TOKEN": "hf_private"},
    "host": "127.0.0.1",
}


def asked(**changes):
    return flatten({"servers": {"policy_model": what_decides({**SETTINGS, **changes})}})


def test_only_what_decides_on_answers_is_noted_and_no_secret():
    assert asked() == {
        "servers.policy_model.model": "tiny",
        "servers.policy_model.engine_args.max_model_len": 2048,
        "servers.policy_model.model_server.type": "responses_api_models",
        "servers.policy_model.model_server.name": "policy_model",
    }


def test_an_output_of_a_version_that_noted_more_goes_on():
    more = flatten({"servers": {"policy_model": {**SETTINGS, "hang_s": 300.0}}})

    refuse_changes(more, asked(), Path("rollouts.jsonl"))


def test_what_changes_answers_is_refused_with_the_difference():
    with pytest.raises(ConfigError, match=r"engine_args\.max_model_len: 2048 -> 512"):
        refuse_changes(asked(), asked(engine_args={"max_model_len": 512}), Path("rollouts.jsonl"))
