"""What `gym GROUP VERB` makes of its flags: the command that has them as options."""

import importlib
import json
import os
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from nemo_gym_lite.cli.commands import COMMANDS
from nemo_gym_lite.cli.gym import split_command, translate
from nemo_gym_lite.cli.spellings import NOT_HERE, SPELLINGS
from nemo_gym_lite.config.keys import FREE_PREFIXES
from nemo_gym_lite.config.options import option_names
from nemo_gym_lite.errors import ConfigError

ROOT = Path(__file__).parents[2]
MCQA = f"{ROOT}/resources_servers/mcqa/configs/mcqa.yaml"
JUDGE = f"{ROOT}/responses_api_models/vllm_model/configs/vllm_judge_model.yaml"


def tokens(*argv):
    """What the `ng_` command is given."""
    name, rest = split_command(argv)
    return f"ng_{SPELLINGS[name].command}", *translate(SPELLINGS[name], rest)


def options_of(name):
    """Names of the options of a command."""
    module = importlib.import_module(f"nemo_gym_lite.cli.{name}")
    models = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, BaseModel)]
    return {option for model in models if model.__name__.endswith("Options") for option in option_names(model)}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["env", "start", "--config", "a.yaml", "--config=b.yaml"], ("ng_run", "+config_paths=[a.yaml,b.yaml]")),
        (["env", "start", "--config", "my files/a.yaml"], ("ng_run", "+config_paths=['my files/a.yaml']")),
        (["env", "start", "--resources-server", "mcqa"], ("ng_run", f"+config_paths=[{MCQA}]")),
        (["env", "start", "--environment", "mcqa"], ("ng_run", f"+config_paths=[{MCQA}]")),
        (["env", "start", "--model-type", "vllm_model/vllm_judge_model"], ("ng_run", f"+config_paths=[{JUDGE}]")),
        (
            ["env", "start", "-m", "llama", "--model-url", "http://a/v1", "--model-api-key", "k"],
            ("ng_run", "+policy_model_name=llama", "+policy_base_url=http://a/v1", "+policy_api_key=k"),
        ),
        (["env", "status", "--json"], ("ng_status", "+json=true")),
        (
            ["env", "init", "--resources-server", "tea"],
            ("ng_init_resources_server", "+entrypoint=resources_servers/tea"),
        ),
        (["env", "test", "--resources-server", "tea"], ("ng_test", "+entrypoint=resources_servers/tea")),
        (["env", "test", "--all", "+jobs=2"], ("ng_test_all", "+jobs=2")),
        (
            ["eval", "run", "-i", "t.jsonl", "--no-serve", "-o", "o.jsonl", "--resume", "--temperature", "0.3"],
            (
                "ng_collect_rollouts",
                "+input_jsonl_fpath=t.jsonl",
                "+output_jsonl_fpath=o.jsonl",
                "+resume_from_cache=true",
                "+responses_create_params.temperature=0.3",
            ),
        ),
        (["eval", "run", "--split", "train", "++a.b=1"], ("ng_e2e_collect_rollouts", "+split=train", "++a.b=1")),
        (["eval", "reverify", "--inputs", "i", "--rollouts", "r"], ("ng_verify_rollouts", "+input_jsonl_fpath=r")),
        (["list"], ("ng_list",)),
        (["list", "agents", "simple_agent"], ("ng_list", "+kind=agents", "+component_name=simple_agent")),
        (["search", "two", "words"], ("ng_list", "+query=two words")),
        (["search", "models", "vllm"], ("ng_list", "+kind=models", "+query=vllm")),
        (["dataset", "collate", "--output-dir", "d", "-v"], ("ng_prepare_data", "+output_dirpath=d", "+verbose=true")),
    ],
)
def test_flags_become_options(folder, argv, expected):
    assert tokens(*argv) == expected


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["env", "strat"], "did you mean `env start`"),
        (["evn", "start"], "did you mean `env start`"),
        (["env"], "`gym env start`"),
        (["nonsense"], "`gym --help` lists all commands"),
        (["env", "start", "--confg", "a.yaml"], "did you mean `--config`"),
        (["env", "start", "--config"], "`--config` needs a value"),
        (["env", "start", "word"], "`word` on the command line is no flag"),
        (["env", "start", "--resources-server", "mcqb"], "did you mean `mcqa`"),
        (["env", "start", "--model-type", "vllm_model/vllm_juge_model"], "vllm_model/vllm_judge_model"),
        (["eval", "submit", "-c", "x"], "see docs/guides/scale.md"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(folder, argv, complaint):
    with pytest.raises(ConfigError) as raised:
        tokens(*argv)
    assert complaint in str(raised.value)


def test_every_command_has_the_spelling_that_the_table_of_commands_gives_it():
    for each in COMMANDS:
        if not each.spelled.startswith("--"):
            assert SPELLINGS[each.spelled].command == each.name


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_flag_stands_for_an_option_of_its_command(name):
    spelling = SPELLINGS[name]
    known = options_of(spelling.command)
    for flag in spelling.flags:
        key = flag.key.lstrip("+").partition("=")[0].partition(".")[0]
        assert flag.kind in {"config", "ignored"} or key in known or key.startswith(FREE_PREFIXES), flag
    assert not spelling.word or spelling.word in known


def test_commands_that_are_not_here_are_no_commands_and_name_pages_that_exist():
    assert not NOT_HERE.keys() & SPELLINGS.keys()
    for advice in NOT_HERE.values():
        for word in advice.split():
            assert not word.startswith("docs/") or (ROOT / word).exists() or word == "docs/guides/dependencies.md"


def test_search_directories_come_first_and_reach_the_servers(folder, write, caplog):
    write("mine/resources_servers/mcqa/configs/mcqa.yaml", "mcqa: {}")

    found = tokens("env", "start", "--search-dir", "mine", "--resources-server", "mcqa")

    assert found == ("ng_run", f"+config_paths=[{folder}/mine/resources_servers/mcqa/configs/mcqa.yaml]")
    assert os.environ["NEMO_GYM_EXTRA_ROOTS"] == str(folder / "mine")
    assert MCQA in caplog.text  # what is hidden is told


def test_nested_benchmarks_and_those_with_several_files_are_found(folder, write):
    write("benchmarks/sums/config.yaml", "")
    write("benchmarks/sums/long.yaml", "")
    write("benchmarks/group/one/config.yaml", "")

    assert tokens("env", "start", "--benchmark", "sums")[1] == f"+config_paths=[{folder}/benchmarks/sums/config.yaml]"
    assert tokens("env", "start", "--benchmark", "sums/long")[1].endswith("sums/long.yaml]")
    assert tokens("env", "start", "--benchmark", "group/one")[1].endswith("group/one/config.yaml]")


def test_a_command_is_run_and_its_exit_code_returned(command):
    told = json.loads(command("gym", "--json", "env", "validate", "--config", f"{ROOT}/configs/quickstart.yaml").out)
    assert "policy_model" in told["servers"]

    assert command("gym", "env", "validate", "--config", "gone.yaml").code == 2
    assert command("gym", "env", "strat").code == 2


def test_help_is_given_for_everything_and_for_one_command(command):
    assert "gym dataset collate" in command("gym").out
    assert command("gym").out == command("gym", "--help").out

    group = command("gym", "env", "--help")
    assert (group.code, group.out) == (0, command("gym", "env").out)
    assert "gym env start" in group.out
    assert "gym dataset collate" not in group.out

    told = command("gym", "eval", "run", "--no-serve", "--help").out
    assert "`ng_collect_rollouts`" in told
    assert "--concurrency VALUE" in told
    assert "+num_samples_in_parallel=" in told


def test_the_version_is_a_flag_of_gym(command):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version in command("gym", "--version").out
    assert json.loads(command("gym", "--version", "--json").out)["nemo_gym"] == version
