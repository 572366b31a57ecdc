"""What Parquet files hold: the rows of the JSON lines, in row groups of bounded size."""

import json
import sys

import pyarrow.parquet as pq
import pytest

from nemo_gym_lite.training import parquet

from .conftest import TOOL, calls, ids, replies, rollout, says

PARAMS = {"input": "What is tea?", "tools": [TOOL]}
TURNS = [calls('{"word": "tea"}', **ids([1, 2], [3])), replies("a drink"), says("So.", **ids([1, 2, 3, 4], [5, 6]))]
ROWS = [
    rollout(0, 0, 1.0, output=TURNS, params=PARAMS),
    rollout(0, 1, 0.0, output=[calls("{torn"), replies("what?"), says("Sorry.")], params=PARAMS),
    rollout(1, 0, 0.5, arm="plain"),
    rollout(1, 1, 1.0, arm="plain"),
]


def without_nulls(value):
    """The value as JSON lines have it: fields of messages that are not there, and JSON as objects."""
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: without_nulls(each) for name, each in value.items() if each is not None}
    return {name: json.loads(each) if name in {"arguments", "tools"} else each for name, each in kept.items()}


def only_set(row):
    return {name: value for name, value in row.items() if value is not None}


@pytest.mark.parametrize(
    "options", [["sft"], ["tokens"], ["preference"], ["preference", "+columns=nemo_rl"], ["grpo"]], ids=" ".join
)
def test_a_file_holds_the_rows_of_the_json_lines(export, options):
    rows, _ = export(ROWS, *options)
    file, _ = export(ROWS, *options, name="out.parquet")

    table = pq.read_table(file)
    assert [without_nulls(row) for row in table.to_pylist()] == [only_set(row) for row in rows]
    assert table.column_names == list(rows[0])


def test_what_has_a_shape_of_its_own_in_each_row_is_of_the_json_type(export):
    file, _ = export(ROWS, "sft", name="out.parquet")

    schema = str(pq.ParquetFile(file).schema)
    assert "arguments (JSON)" in schema
    assert "tools (JSON)" in schema


def test_row_groups_are_bounded(export, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 10)

    file, _ = export([rollout(task, 0) for task in range(25)], "sft", name="out.parquet")

    metadata = pq.ParquetFile(file).metadata
    assert [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)] == [10, 10, 5]


def test_without_pyarrow_the_package_to_install_is_named(command, write, monkeypatch):
    write("x.jsonl", ROWS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "nemo_gym_lite.training.parquet")

    ended = command("export_rollouts", "+rollouts_jsonl_fpath=x.jsonl", "+output_fpath=out.parquet")

    assert ended.code == 2
    assert "pip install 'nemo-gym-lite[parquet]'" in ended.err
