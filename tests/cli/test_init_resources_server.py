"""What a new environment is worth before a line of it is changed: its tests pass, it plays, and it earns rewards."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import read_lines

NAME = "tea_time"


@pytest.fixture
def environment(command):
    assert command("init_resources_server", f"+entrypoint=resources_servers/{NAME}").code == 0
    return Path("resources_servers", NAME)


def test_the_folder_is_complete(environment):
    assert {str(path.relative_to(environment)) for path in environment.rglob("*") if path.is_file()} == {
        "app.py",
        "README.md",
        f"configs/{NAME}.yaml",
        "data/example.jsonl",
        "tests/test_app.py",
    }
    assert "class TeaTimeResourcesServer(" in (environment / "app.py").read_text()


def test_its_own_tests_pass(environment, process):
    ended = process("test", f"+entrypoint=resources_servers/{NAME}")

    assert ended.code == 0, ended.out + ended.err
    assert "passed" in ended.out


def test_the_command_of_its_readme_runs_as_written_and_brings_rewards(environment, process):
    [block] = re.findall(r"```bash\n(ng_collect_rollouts .*?)```", (environment / "README.md").read_text(), re.DOTALL)
    script, *argv = shlex.split(block.replace("\\\n", " "))

    ended = process(script.removeprefix("ng_"), *argv)

    assert ended.code == 0, ended.err
    rollouts = read_lines(f"results/{NAME}.jsonl")
    assert len(rollouts) == len(read_lines(environment / "data/example.jsonl"))
    assert sum(each["reward"] for each in rollouts) > 0


def test_it_is_listed_and_its_data_can_be_prepared(environment, command):
    assert NAME in command("list", "+kind=environments").out

    config = f"+config_paths=[resources_servers/{NAME}/configs/{NAME}.yaml]"
    ended = command("prepare_data", config, "+mode=example_validation", "+output_dirpath=data")

    assert ended.code == 0, ended.err
    assert {row["agent_ref"]["name"] for row in read_lines("data/example.jsonl")} == {f"{NAME}_simple_agent"}


@pytest.mark.parametrize(
    ("entrypoint", "complaint"),
    [
        ("tea_time", "is not resources_servers/NAME"),
        ("/tmp/resources_servers/tea", "is not resources_servers/NAME"),
        ("responses_api_agents/tea", "is not resources_servers/NAME"),
        ("resources_servers/tea-time", "cannot be imported"),
        ("resources_servers/3d", "cannot be imported"),
        ("resources_servers/class", "cannot be imported"),
        ("resources_servers/gsm8k", "is there already"),
    ],
)
def test_a_name_that_will_not_do_is_refused_and_nothing_is_written(command, folder, entrypoint, complaint):
    ended = command("init_resources_server", f"+entrypoint={entrypoint}")

    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err
    assert list(folder.iterdir()) == []


def test_an_environment_is_never_overwritten(environment, command):
    (environment / "app.py").write_text("mine")

    assert command("init_resources_server", f"+entrypoint=resources_servers/{NAME}").code == 2
    assert (environment / "app.py").read_text() == "mine"
