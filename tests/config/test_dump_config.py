"""What `ng_dump_config` prints."""

import os
import subprocess
import sys

import pytest
import yaml

from nemo_gym_lite.cli import dump_config

COMMAND = [sys.executable, "-m", "nemo_gym_lite.cli.dump_config"]
FILES = "+config_paths=[weather.yaml,model.yaml]"


def run(monkeypatch, *argv):
    monkeypatch.setattr(sys, "argv", ["ng_dump_config", *argv])
    return dump_config.main()


def test_the_tree_is_printed_resolved_and_masked(project, monkeypatch, capsys):
    project("more.yaml", "weather: {resources_servers: {weather: {max_tokens: 5, url: '${policy_base_url}'}}}")

    assert run(monkeypatch, "+config_paths=[weather.yaml,model.yaml,more.yaml]") == 0

    text = capsys.readouterr().out
    tree = yaml.safe_load(text)
    assert tree["weather"]["resources_servers"]["weather"]["max_tokens"] == 5
    assert tree["weather"]["resources_servers"]["weather"]["url"] == "http://127.0.0.1:8000/v1"
    assert tree["policy_model"]["responses_api_models"]["chat_model"]["api_key"] == "****"
    assert tree["policy_model"]["responses_api_models"]["chat_model"]["port"] > 10_000
    assert tree["head_server"] == {"host": "127.0.0.1", "port": 11000}
    assert "sk-of-the-user" not in text


def test_a_configuration_without_servers_can_be_printed(write, monkeypatch, capsys):
    assert run(monkeypatch) == 0
    assert yaml.safe_load(capsys.readouterr().out)["config_paths"] == []


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_printed_and_nothing_else_is_done(write, monkeypatch, capsys, flag):
    assert run(monkeypatch, "+config_paths=[gone.yaml]", flag) == 0
    assert "usage: ng_dump_config" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_error(project):
    read_end, write_end = os.pipe()
    os.close(read_end)

    done = subprocess.run([*COMMAND, FILES], stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)

    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")
