"""What an aggregation of outputs promises: every row once, in order, and a word on everything that is missing."""

import random

import orjson
import pytest

from nemo_gym_lite.errors import ConfigError, OutputError
from nemo_gym_lite.rollouts.aggregation import aggregate
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.manifest import InputEntry, Manifest, load_manifest
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.parts import find_parts
from nemo_gym_lite.rollouts.report import write_metrics
from nemo_gym_lite.rollouts.shards import Shard

ENTRY = InputEntry(path="tasks.jsonl", digest="d", agent_name="a", limit=None, num_repeats=3, tasks=10, finished=True)


def row(task, rollout, **fields):
    labels = {"_ng_key": f"{task:032x}", "_ng_rollout_index": rollout, "_ng_task_index": task}
    return {"text": "é" * 20, "reward": task % 2, **labels, "agent_ref": {"name": "a"}, **fields}


def write(path, rows):
    path.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in rows))


def shard(folder, number, of=3, *, status="finished", tasks=12, counts=None, **manifest):
    """Write one shard's output, in the order in which a run would complete it: any."""
    path = Shard(number, of).path(folder / "x.jsonl")
    rows = [row(task, rollout) for task in range(number - 1, tasks, of) for rollout in range(3)]
    random.Random(number).shuffle(rows)
    write(path, rows)
    said = {"asked": {"model": "m"}, "inputs": [ENTRY], "counts": counts or {"delivered": len(rows), "failed": 0}}
    Manifest(status=status, begun=f"b{number}", ended=f"e{number}", **(said | manifest)).save(
        OutputFiles(path).manifest
    )
    return path


def merged(folder, pattern="x_shard_*"):
    return aggregate(str(folder / pattern), folder / "x.jsonl")


def lines(path):
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_shards_become_one_output_sorted_by_task_and_rollout(tmp_path):
    for number in (1, 2, 3):
        shard(tmp_path, number)

    made = merged(tmp_path)

    assert lines(tmp_path / "x.jsonl") == [row(task, rollout) for task in range(12) for rollout in range(3)]
    assert (made.parts, made.rows, made.gaps, made.owed) == (3, 36, [], 0)
    manifest = load_manifest(tmp_path / "x_run.json")
    assert (manifest.status, manifest.begun, manifest.ended) == ("finished", "b1", "e3")
    assert (manifest.counts["delivered"], manifest.counts["rows_in_output"]) == (36, 36)
    assert [(entry.tasks, entry.finished) for entry in manifest.inputs] == [(30, True)]


def test_metrics_are_those_of_one_machine(tmp_path):
    for number in (1, 2, 3):
        shard(tmp_path, number)
    one = RunMetrics()
    for task in range(12):
        for rollout in range(3):
            one.add(row(task, rollout))
    files = OutputFiles(tmp_path / "one.jsonl")

    made = merged(tmp_path)

    assert made.key_metrics == write_metrics(files, one, {})
    assert (tmp_path / "x_aggregate_metrics.json").read_bytes() == files.metrics.read_bytes()


def test_a_rollout_that_is_there_twice_is_refused_and_nothing_is_written(tmp_path):
    for number in (1, 2, 3):
        shard(tmp_path, number)
    (tmp_path / "x_shard_copy.jsonl").write_bytes((tmp_path / "x_shard_2_of_3.jsonl").read_bytes())

    with pytest.raises(ConfigError, match=r"rollout \d is in .*x_shard_2_of_3.jsonl and again in .*x_shard_copy.jsonl"):
        merged(tmp_path)

    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(
    ("difference", "shown"),
    [
        ({"asked": {"model": "other"}}, 'model: "m" -> "other"'),
        ({"inputs": [ENTRY.model_copy(update={"digest": "e"})]}, 'input: "d" -> "e"'),
        ({"inputs": [ENTRY.model_copy(update={"num_repeats": 4})]}, "num_repeats: 3 -> 4"),
    ],
)
def test_shards_of_different_runs_are_refused_with_the_difference(tmp_path, difference, shown):
    shard(tmp_path, 1)
    shard(tmp_path, 2, **difference)

    with pytest.raises(ConfigError, match="other settings") as refused:
        merged(tmp_path)

    assert shown in str(refused.value)


def test_shards_that_are_missing_or_not_finished_are_named(tmp_path):
    shard(tmp_path, 2, of=5)
    shard(tmp_path, 4, of=5, status="interrupted")
    write(tmp_path / "x_shard_of_a_friend.jsonl", [row(99, 0)])

    made = merged(tmp_path)

    assert [gap.replace(f"{tmp_path}/", "") for gap in made.gaps] == [
        "shard 1/5 is missing: x_shard_1_of_5.jsonl",
        "shard 3/5 is missing: x_shard_3_of_5.jsonl",
        "shard 5/5 is missing: x_shard_5_of_5.jsonl",
        "x_shard_4_of_5.jsonl is not finished but interrupted: run its command again",
        "x_shard_of_a_friend.jsonl has no manifest, so nobody can say whether it is finished",
    ]
    manifest = load_manifest(tmp_path / "x_run.json")
    assert (manifest.status, manifest.inputs[0].finished) == ("interrupted", False)


def test_a_shard_without_a_delivered_rollout_is_not_missing_and_its_failures_are_kept(tmp_path):
    shard(tmp_path, 1, of=2, spent={"total_tokens": 50, "cost_usd": None})
    unlucky = {"failed": 1, "failure_classes": {"timeout": 1}}
    shard(tmp_path, 2, of=2, counts=unlucky, spent={"total_tokens": 7, "cost_usd": 0.5}).unlink()
    write(tmp_path / "x_shard_2_of_2_failures.jsonl", [row(1, 0, _ng_failure_class="timeout")])

    made = merged(tmp_path)

    assert (made.gaps, made.failures, made.owed) == ([], 1, 1)
    assert lines(tmp_path / "x_failures.jsonl") == [row(1, 0, _ng_failure_class="timeout")]
    manifest = load_manifest(tmp_path / "x_run.json")
    assert manifest.counts["failure_classes"] == {"timeout": 1}
    assert manifest.spent == {"total_tokens": 57, "cost_usd": None}


def test_a_torn_last_line_is_left_out_and_told(tmp_path):
    with shard(tmp_path, 1, of=1).open("ab") as file:
        file.write(orjson.dumps(row(50, 0)) + b"\n" + orjson.dumps(row(51, 0))[:-9])

    made = merged(tmp_path)

    assert made.rows == len(lines(tmp_path / "x.jsonl")) == 37
    assert made.gaps == ["lines that are no JSON were left out: 1; their rollouts are owed"]


def test_a_last_line_without_its_newline_is_a_row_like_others(tmp_path):
    path = shard(tmp_path, 1, of=2)
    path.write_bytes(path.read_bytes()[:-1])
    shard(tmp_path, 2, of=2)

    assert merged(tmp_path).rows == len(lines(tmp_path / "x.jsonl")) == 36


def test_sidecars_and_the_output_itself_are_no_parts(tmp_path):
    shard(tmp_path, 1, of=1)
    write(tmp_path / "x_shard_1_of_1_failures.jsonl", [row(1, 0)])
    write(tmp_path / "x.jsonl", [row(1, 0)])

    parts = find_parts(f"{tmp_path}/*.jsonl, {tmp_path}/x_shard_1*", tmp_path / "x.jsonl")

    assert [part.files.rollouts.name for part in parts] == ["x_shard_1_of_1.jsonl"]


def test_a_pattern_that_matches_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no output matches"):
        merged(tmp_path)


def test_rows_of_another_program_are_refused(tmp_path):
    write(tmp_path / "x_shard_a.jsonl", [{"reward": 1.0}])

    with pytest.raises(OutputError, match="another program"):
        merged(tmp_path)
