"""What machines that share an input may rely on: each plays its own part, and the parts are the whole."""

from collections import Counter
from pathlib import Path

import orjson
import pytest

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.plan import PlanSettings, Task, plan
from nemo_gym_lite.rollouts.request import make_request
from nemo_gym_lite.rollouts.shards import Shard, shard_of
from nemo_gym_lite.rollouts.source import read_tasks

TEXTS = [f"question {n % 40}" for n in range(55)]  # fifteen of them twice


def tasks():
    return [Task(line, {"responses_create_params": {"input": text}}) for line, text in enumerate(TEXTS, 1)]


def names(specs):
    return [(spec.key, spec.rollout_index, spec.task_index) for spec in specs]


@pytest.mark.parametrize("of", [1, 2, 3, 7, 100])
def test_the_shards_of_an_input_are_the_whole_input_with_its_labels(of):
    whole = names(plan(tasks(), PlanSettings("a", 2)))
    parts = [names(plan(tasks(), PlanSettings("a", 2, shard=Shard(number, of)))) for number in range(1, of + 1)]

    assert sorted(name for part in parts for name in part) == sorted(whole)
    assert len(set(whole)) == len(whole) == 110


def test_identical_rows_are_played_by_one_shard():
    for number in range(1, 4):
        specs = list(plan(tasks(), PlanSettings("a", shard=Shard(number, 3))))
        rows = Counter(spec.row["responses_create_params"]["input"] for spec in specs)

        assert rows == {text: TEXTS.count(text) for text in rows}


def test_shards_hold_as_many_tasks_as_each_other():
    sizes = [len({s.key for s in plan(tasks(), PlanSettings("a", shard=Shard(n, 7)))}) for n in range(1, 8)]

    assert max(sizes) - min(sizes) <= 1


def test_a_request_counts_the_rollouts_of_its_shard_and_knows_the_agents_of_all(tmp_path):
    path = tmp_path / "tasks.jsonl"
    rows = [task.row | ({"agent_ref": {"name": "other"}} if number == 1 else {}) for number, task in enumerate(tasks())]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    requests = [
        make_request(
            CollectOptions(
                input_jsonl_fpath=path,
                output_jsonl_fpath=tmp_path / "out.jsonl",
                agent_name="a",
                num_repeats=2,
                shard=f"{number}/3",
            )
        )
        for number in (1, 2, 3)
    ]

    for request in requests:
        assert request.rollouts == len(list(plan(read_tasks(path), request.settings)))
        assert sorted(request.agent_names) == ["a", "other"]
    assert len({request.summary.digest for request in requests}) == 1
    assert requests[1].files.rollouts == tmp_path / "out_shard_2_of_3.jsonl"
    assert requests[1].options.model_dump(mode="json")["shard"] == "2/3"
    assert sum(request.rollouts for request in requests) == 110


@pytest.mark.parametrize(("text", "complaint"), [("0/4", "no shard 0/4"), ("5/4", "no shard 5/4"), ("half", "'half'")])
def test_a_shard_that_does_not_exist_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        CollectOptions(input_jsonl_fpath="a.jsonl", output_jsonl_fpath="b.jsonl", shard=text)


def test_a_shards_output_is_not_its_input(tmp_path):
    path = tmp_path / "out_shard_1_of_2.jsonl"
    path.write_text('{"responses_create_params": {"input": "x"}}\n')
    options = CollectOptions(
        input_jsonl_fpath=path, output_jsonl_fpath=tmp_path / "out.jsonl", agent_name="a", shard="1/2"
    )

    with pytest.raises(ConfigError, match="a file that this run writes"):
        make_request(options)


@pytest.mark.parametrize("shard", [Shard(1, 1), Shard(3, 12)])
def test_the_name_of_a_shards_output_says_which_it_is(shard):
    assert shard_of(shard.path(Path("results/x.jsonl"))) == (Path("results/x.jsonl"), shard)


@pytest.mark.parametrize("name", ["x.jsonl", "x_shard_3_of_2.jsonl", "x_shard_0_of_2.jsonl", "_shard_1_of_2.jsonl"])
def test_other_names_are_no_shards(name):
    assert shard_of(Path(name)) is None
