"""What `ng_list` finds in the search roots, from files alone."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TEA = """
    tea:
      resources_servers:
        tea: {entrypoint: app.py, domain: games, description: Guess the leaf}
    tea_agent:
      responses_api_agents:
        simple_agent:
          entrypoint: app.py
          model_server: {type: responses_api_models, name: "${gone}"}
          datasets: [{name: few, type: example, jsonl_fpath: data/few.jsonl}]
"""


@pytest.fixture
def listed(command):
    """Names of what is listed, with their records."""
    return lambda *argv: {each["name"]: each for each in json.loads(command("list", *argv, "--json").out)}


def test_every_folder_of_ours_is_listed_with_a_domain_and_a_description(listed):
    found = listed("+kind=environments")

    assert {path.parent.parent.name for path in ROOT.glob("resources_servers/*/configs/*.yaml")} == set(found)
    assert all(each["domain"] and each["description"] and each["agents"] for each in found.values())
    assert {"simple_agent", "vllm_model", "gsm8k"} <= set(listed())


def test_what_the_yaml_says_is_told_and_interpolations_may_lead_nowhere(listed, write, folder):
    write("resources_servers/tea/configs/tea.yaml", TEA)

    assert listed("+kind=environments")["tea"] == {
        "kind": "environments",
        "name": "tea",
        "path": str(folder / "resources_servers/tea"),
        "domain": "games",
        "description": "Guess the leaf",
        "configs": [str(folder / "resources_servers/tea/configs/tea.yaml")],
        "agents": ["tea_agent"],
        "datasets": ["data/few.jsonl"],
    }


def test_the_first_search_root_wins(listed, write, folder):
    write("resources_servers/gsm8k/configs/gsm8k.yaml", TEA)

    assert listed()["gsm8k"]["path"] == str(folder / "resources_servers/gsm8k")


def test_a_readme_or_a_docstring_describes_what_the_yaml_does_not(listed, write):
    write("responses_api_models/one/app.py", '"""Says yes. Always."""')
    write("responses_api_models/two/app.py", "syntax error")
    write("responses_api_models/two/README.md", "# two\n\n[Says](x.md) `no`.\nEver.\n")

    found = listed("+kind=models")

    assert (found["one"]["description"], found["two"]["description"]) == ("Says yes.", "Says no.")


def test_environments_and_benchmarks_made_of_others_are_found_by_their_path(listed, write):
    write("resources_servers/tea/configs/tea.yaml", TEA)
    write("environments/party/config.yaml", "config_paths: [resources_servers/tea/configs/tea.yaml]")
    write("benchmarks/group/tea/config.yaml", "config_paths: [resources_servers/tea/configs/tea.yaml]")

    assert listed("+kind=environments")["party"]["agents"] == ["tea_agent"]
    assert listed("+kind=benchmarks")["group/tea"]["domain"] == "games"


def test_a_file_that_cannot_be_read_hides_no_other(command, write):
    write("resources_servers/tea/configs/tea.yaml", "a: [")

    ended = command("list", "+kind=environments")

    assert ended.code == 0
    assert "tea" in ended.out
    assert "gsm8k" in ended.out


@pytest.mark.parametrize(
    ("query", "found"), [("leaf", True), ("gues the leef", True), ("GAMES", True), ("leaf rocket", False)]
)
def test_a_search_takes_words_that_are_there_or_nearly(listed, write, query, found):
    write("resources_servers/tea/configs/tea.yaml", TEA)

    assert ("tea" in listed(f"+query={query}")) == found


def test_one_can_be_looked_at_in_full(command, write):
    write("resources_servers/tea/configs/tea.yaml", TEA)

    told = command("list", "+name=tea").out
    assert "agents: tea_agent" in told
    assert "data: data/few.jsonl" in told

    assert "did you mean `tea`" in command("list", "+name=teaa").err


def test_people_get_tables_and_a_count(command):
    told = command("list", "+query=gsm8k").out

    assert "gsm8k_simple_agent" in told
    assert "1 found" in told
    assert "nothing found" in command("list", "+query=rocketry").out
