"""The configuration under NeMo Gym's import path."""

import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from nemo_gym_lite import global_config
from nemo_gym_lite.global_config import (
    GlobalConfigDictParser,
    GlobalConfigDictParserConfig,
    find_open_port,
    get_first_server_config_dict,
    get_global_config_dict,
    maybe_get_global_config_dict,
    set_global_config_dict,
)


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(global_config, "_current", [])
    monkeypatch.delenv("NEMO_GYM_LITE_CONFIG_FILE", raising=False)
    monkeypatch.setattr(sys, "argv", ["a_command", "+config_paths=[weather.yaml,model.yaml]", "+policy_x=1"])


def test_the_accessor_composes_the_command_line_once(project):
    assert maybe_get_global_config_dict() is None

    tree = get_global_config_dict()

    assert tree.policy_x == 1
    assert get_global_config_dict() is tree
    assert maybe_get_global_config_dict() is tree


def test_what_is_set_is_returned(write):
    tree = OmegaConf.create({"a": 1})
    set_global_config_dict(tree)

    assert get_global_config_dict() is tree


def test_a_server_reads_the_file_that_its_launcher_left(write, monkeypatch):
    path = write("config.json", '{"a": {"b": 1}}')
    monkeypatch.setenv("NEMO_GYM_LITE_CONFIG_FILE", str(path))

    assert get_global_config_dict().a.b == 1


def test_the_parser_can_leave_out_sources_and_hide_secrets(project):
    settings = GlobalConfigDictParserConfig(
        initial_global_config_dict=OmegaConf.create({"policy_api_key": "sk-2", "y": "${policy_api_key}"}),
        skip_load_from_cli=True,
        skip_load_from_dotenv=True,
        hide_secrets=True,
    )

    tree = GlobalConfigDictParser().parse(settings)

    assert "policy_base_url" not in tree
    assert tree.policy_api_key == "****"


def test_the_parser_can_read_another_env_file(project):
    path = project("other.yaml", "{policy_base_url: http://other/v1, policy_api_key: k}")

    tree = GlobalConfigDictParser().parse(GlobalConfigDictParserConfig(dotenv_path=path))

    assert get_first_server_config_dict(tree, "policy_model").base_url == "http://other/v1"


def test_an_open_port_is_in_the_configured_range_and_not_taken():
    set_global_config_dict(OmegaConf.create({"port_range_low": 23_000, "port_range_high": 23_010}))

    assert find_open_port(disallowed_ports=[23_000]) in range(23_001, 23_011)


def test_names_of_keys_are_had_without_what_composes_configurations():
    code = "import sys, nemo_gym_lite.global_config; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"hydra", "fastapi", "aiohttp"} & set(loaded)
