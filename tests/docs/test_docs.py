"""The documentation is held to the code: its links, options, files and the environment that it builds."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.keys import FREE_PREFIXES, KNOWN_GLOBALS, RESERVED_KEYS
from nemo_gym_lite.config.options import option_names
from nemo_gym_lite.rollouts.prices import DEFAULT_PRICES

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "resources_servers").glob("*/README.md")),
    *sorted((ROOT / "responses_api_models").glob("*/README.md")),
    *(page for page in (ROOT / "README.md",) if page.exists()),
]
MADE_BY_THE_READER = (
    "my_",
    "responses_api_agents/my_",
    "chunk_",
    "resources_servers/letter_count",
    "resources_servers/MY_",
)
ENV_YAML = "".join(
    f"{who}_base_url: http://{who}:8000/v1\n{who}_api_key: EMPTY\n{who}_model_name: m\n" for who in ("policy", "judge")
)
INCOMPLETE = ("my_", "MY_", "letter_count", "$", "azure_openai_model")  # the reader writes these, or what they lack


def name_of(page):
    return str(page.relative_to(ROOT))


def generator():
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs/generate_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = generator()
OPTIONS = {name for options in REFERENCE.COMMANDS.values() for name in option_names(options)}


def commands(page):
    """The words of each shell command on a page, continuation lines joined."""
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_that_a_command_uses_exists(page):
    known = {*OPTIONS, *RESERVED_KEYS, *KNOWN_GLOBALS}
    for words in commands(page):
        if words[0].startswith("ng_"):
            for word in words[1:]:
                key = word.lstrip("+~").partition("=")[0].partition(".")[0]
                assert key in known or key.startswith(FREE_PREFIXES), f"{name_of(page)}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_command_reads_exists(page):
    for words in commands(page):
        for word in words:
            for path in re.findall(r"[\w./$]+\.(?:yaml|example|jsonl)\b", word):
                if not path.startswith(("results/", *MADE_BY_THE_READER)) and path != "env.yaml":
                    assert (ROOT / path).exists(), f"{name_of(page)}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_configuration_that_a_command_starts_from_is_valid(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env.yaml").write_text(ENV_YAML)
    for name, *words in commands(page):
        starts = name in {"ng_run", "ng_collect_rollouts"} and "config_paths" in str(words)
        if starts and not any(each in str(words) for each in INCOMPLETE):
            assert compose(words, REFERENCE.COMMANDS[name]).servers


@pytest.mark.parametrize("file", sorted({*(ROOT / "configs").glob("*.yaml")} - {ROOT / DEFAULT_PRICES}), ids=name_of)
def test_the_configurations_in_configs_name_files_that_exist(file):
    tree = OmegaConf.load(file)
    assert list(tree) == ["config_paths"]
    for path in tree.config_paths:
        assert (ROOT / path).exists(), path


def test_env_yaml_example_is_yaml_and_gives_the_three_keys_of_a_policy():
    assert set(OmegaConf.load(ROOT / "env.yaml.example")) == {
        "policy_base_url",
        "policy_api_key",
        "policy_model_name",
    }


def test_the_reference_says_what_the_code_says():
    for name, text in REFERENCE.pages().items():
        page = ROOT / "docs/reference" / name
        assert page.read_text() == text, f"{name_of(page)} is not up to date: run `make docs`"
