"""What `ng_e2e_collect_rollouts` does between the data sets of a configuration and their rollouts."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import read_lines


def test_the_data_of_a_split_is_prepared_and_played_and_the_same_command_goes_on(command, process):
    command("init_resources_server", "+entrypoint=resources_servers/tea")
    argv = ["eval", "run", "--resources-server", "tea", "--model-type", "simulated_model", "--split", "example",
            "-o", "results/x.jsonl", "--limit"]  # fmt: skip

    assert (ended := process("gym", *argv, "3")).code == 0, ended.err
    assert len(read_lines("results/x.jsonl")) == 3

    assert (ended := process("gym", *argv, "5")).code == 0, ended.err
    rollouts = read_lines("results/x.jsonl")
    assert len(rollouts) == 5
    assert {each["agent_ref"]["name"] for each in rollouts} == {"tea_simple_agent"}
    assert len(read_lines("results/x/preprocessed_datasets/example.jsonl")) == 8
    assert json.loads(Path("results/x_aggregate_metrics.json").read_text())[0]["key_metrics"]["mean/reward"] > 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "neither split nor input_jsonl_fpath is given"),
        (["+split=train"], "no data file of the types train; there are"),
        (["+split=train"], "perhaps you mean +split=example"),
        (["+split=exmaple"], "should be 'train', 'validation', 'benchmark' or 'example'"),
        (["+input_jsonl_fpath=gone.jsonl"], "no such file: gone.jsonl"),
    ],
)
def test_what_is_not_there_is_told_before_anything_starts(command, folder, options, complaint):
    config = "+config_paths=[configs/quickstart.yaml]"

    ended = command("e2e_collect_rollouts", config, "+output_jsonl_fpath=x.jsonl", *options)

    assert ended.code == 2
    assert complaint in ended.err
    assert list(folder.iterdir()) == []


def test_files_of_other_splits_need_not_be_there(command, write, process):
    command("init_resources_server", "+entrypoint=resources_servers/tea")
    entry = "{name: later, type: validation, jsonl_fpath: gone.jsonl, license: MIT}"
    path = Path("resources_servers/tea/configs/tea.yaml")
    text = path.read_text().replace("datasets:\n", f"datasets:\n      - {entry}\n")
    path.write_text(text.replace("type: example", "type: train\n        license: MIT"))
    model = "responses_api_models/simulated_model/configs/simulated_model.yaml"

    ended = process("e2e_collect_rollouts", f"+config_paths=[{path},{model}]", "+split=train",
                    "+output_jsonl_fpath=x.jsonl", "+limit=2")  # fmt: skip

    assert ended.code == 0, ended.err
    assert len(read_lines("x.jsonl")) == 2
