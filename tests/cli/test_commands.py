"""What holds of every command: it is installed under its names, documented, and tells its options."""

import json
import tomllib
from pathlib import Path

import pytest

from nemo_gym_lite.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]


def test_every_command_is_installed_under_both_of_its_names():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    expected = {f"{prefix}_{each.name}": f"{each.module}:main" for each in COMMANDS for prefix in ("ng", "nemo_gym")}
    assert scripts == expected | dict.fromkeys(["gym", "ng"], "nemo_gym_lite.cli.gym:main")


def test_every_module_of_a_command_is_in_the_table_of_commands():
    modules = {path.stem for path in (ROOT / "nemo_gym_lite/cli").glob("*.py") if "\ndef main(" in path.read_text()}

    assert modules == {each.name for each in COMMANDS} | {"gym"}


@pytest.mark.parametrize("each", COMMANDS, ids=lambda each: each.name)
def test_every_command_prints_its_options_and_does_nothing_else(command, process, folder, each):
    run = process if each.name == "make_tasks" else command  # that one begins again in place of its process
    ended = run(each.name, "--help")

    assert ended.code == 0
    assert f"usage: {each.script}" in ended.out
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("each", COMMANDS, ids=lambda each: each.name)
def test_every_command_is_in_the_reference(each):
    assert f"\n## {each.script}\n" in (ROOT / "docs/reference/commands.md").read_text()


def test_help_names_every_command_on_a_line_of_its_own(command):
    lines = command("help").out.splitlines()

    for each in COMMANDS:
        [line] = [line for line in lines if line.split()[:1] == [each.script]]
        assert each.purpose in line
        assert f"gym {each.spelled}" in line


def test_the_version_can_be_read_by_programs(command):
    told = json.loads(command("version", "+json=true").out)

    assert {"nemo_gym", "python", "python_path", "installation_path", "dependencies", "system"} <= set(told)
    assert {"openai", "ray"} <= set(told["dependencies"])
    assert {"os", "platform", "architecture", "processor", "cpus", "memory_gb"} <= set(told["system"])
    assert told["installation_path"] == str(ROOT)
    assert told == json.loads(command("version", "--json").out)


def test_the_version_can_be_read_by_people(command):
    assert command("version").out.startswith("nemo_gym_lite ")


def test_validate_tells_the_servers_of_a_configuration_that_it_does_not_start(command):
    quickstart = f"+config_paths=[{ROOT / 'configs/quickstart.yaml'}]"

    ended = command("validate", quickstart)

    assert ended.code == 0
    assert "policy_model: responses_api_models/simulated_model" in ended.out
    assert set(json.loads(command("validate", quickstart, "--json").out)["servers"]) >= {"gsm8k", "policy_model"}


def test_validate_refuses_what_could_not_be_started(command, write):
    write("broken.yaml", "agent: {responses_api_agents: {simple_agent: {entrypoint: app.py, model_server: "
          "{type: responses_api_models, name: gone}}}}")  # fmt: skip

    ended = command("validate", "+config_paths=[broken.yaml]")

    assert ended.code == 2
    assert "no responses_api_models named `gone`" in ended.err


def test_prompts_are_made_into_a_file_to_look_at(command, write):
    write("rows.jsonl", [{"responses_create_params": {}, "word": "tea"}])
    write("prompt.yaml", "user: What is {word}?")

    ended = command("materialize_prompts", "+input_jsonl_fpath=rows.jsonl", "+prompt_config=prompt.yaml",
                    "+output_jsonl_fpath=out/rows.jsonl")  # fmt: skip

    assert ended.code == 0
    made = json.loads(Path("out/rows.jsonl").read_text())
    assert made["responses_create_params"]["input"] == [{"role": "user", "content": "What is tea?"}]


@pytest.mark.parametrize(
    ("rows", "prompt", "complaint"),
    [
        (
            '{"word": "tea"}\n\n[1]\n',
            "user: What is {word}?",
            "rows.jsonl, line 3: a JSON object is expected, not list",
        ),
        ('{"word": "tea"}\n{"wor', "user: What is {word}?", "rows.jsonl, line 2: not JSON"),
        ('{"word": "tea"}\n', "user: What is {what}?", "the template names the field 'what'"),
        ('{"word": "tea"}\n', "user: What is {word?", "the template cannot be filled"),
    ],
)
def test_prompts_that_cannot_be_made_leave_no_file(command, write, folder, rows, prompt, complaint):
    write("rows.jsonl", rows)
    write("prompt.yaml", prompt)

    ended = command("materialize_prompts", "+input_jsonl_fpath=rows.jsonl", "+prompt_config=prompt.yaml",
                    "+output_jsonl_fpath=made.jsonl")  # fmt: skip

    assert ended.code == 2
    assert complaint in ended.err
    assert {path.name for path in folder.iterdir()} == {"rows.jsonl", "prompt.yaml"}


@pytest.mark.parametrize("options", [["+dataset=no_such"], ["+dataset=leg_counting", "+settings.leg_counting.no=1"]])
def test_tasks_that_cannot_be_made_leave_no_file(process, folder, options):
    ended = process("make_tasks", "+size=2", "+output_jsonl_fpath=tasks.jsonl", *options)

    assert ended.code == 2
    assert list(folder.iterdir()) == []
