"""The aggregates of a run equal what one gets by keeping every row."""

import random
import statistics

import orjson
import pytest
from pydantic import BaseModel

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.interpolation import resolved
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.reward_profile import compute_aggregate_metrics
from nemo_gym_lite.rollouts import own_metrics
from nemo_gym_lite.rollouts.connect import connect, seats
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.metrics import RunMetrics
from nemo_gym_lite.rollouts.report import write_metrics
from nemo_gym_lite.serving.client import open_http


class NoOptions(BaseModel):
    pass


def rows(count, tasks):
    draw = random.Random(3)
    for number in range(count):
        yield {
            "_ng_task_index": number % tasks,
            "_ng_rollout_index": number // tasks,
            "agent_ref": {"name": "a"},
            "reward": float(draw.random() < 0.6),
            "ok": draw.random() < 0.5,
            "note": "text",
            "": 1.0,
            "usage": {"input_tokens": draw.randrange(99), "total_tokens": draw.randrange(99), "details": {}},
        } | ({"rare": draw.random()} if number % 7 == 0 else {})


def collected(found):
    metrics = RunMetrics()
    for row in found:
        metrics.add(row)
    return metrics


def test_statistics_are_exact_for_fields_that_only_some_rows_have():
    found = list(rows(500, 100))
    result = collected(found).agents["a"].agent_metrics()
    rare = [row["rare"] for row in found if "rare" in row]

    assert result["mean/rare"] == pytest.approx(statistics.fmean(rare))
    assert result["median/rare"] == statistics.median(rare)
    assert result["std/rare"] == pytest.approx(statistics.stdev(rare))
    assert (result["min/rare"], result["max/rare"]) == (min(rare), max(rare))
    assert "mean/note" not in result
    assert "mean/_ng_task_index" not in result


def test_running_aggregates_equal_the_ones_made_from_all_rows(tmp_path):
    found = list(rows(60, 20))
    files = OutputFiles(tmp_path / "out.jsonl")
    write_metrics(files, collected(found), {})
    [ours] = orjson.loads(files.metrics.read_bytes())
    whole = compute_aggregate_metrics([{**row, "response": {"usage": row["usage"]}} for row in found])

    assert ours["agent_ref"] == {"name": "a"}
    assert ours["agent_metrics"] == pytest.approx(whole.agent_metrics)
    assert ours["key_metrics"] == pytest.approx(whole.key_metrics)
    assert len(ours["group_level_metrics"]) == 20
    for group, other in zip(ours["group_level_metrics"], whole.group_level_metrics, strict=True):
        assert group["num_rollouts"] == other["num_rollouts"] == 3
        assert group["mean/reward"] == pytest.approx(other["mean/reward"])
        assert [info["rollout_id"] for info in group["rollout_infos"]] == [
            info["rollout_id"] for info in other["rollout_infos"]
        ]


def test_what_an_environment_computes_itself_is_laid_over_ours(tmp_path):
    files = OutputFiles(tmp_path / "out.jsonl")
    keys = write_metrics(
        files,
        collected(rows(4, 2)),
        {"a": {"agent_metrics": {"pass@1": 50.0}, "key_metrics": {"pass@1": 50.0}}},
    )
    [summary] = orjson.loads(files.metrics.read_bytes())

    assert keys == {"a": {"pass@1": 50.0}}
    assert summary["agent_metrics"]["pass@1"] == 50.0
    assert "mean/reward" in summary["agent_metrics"]


def test_a_run_without_rows_writes_an_empty_list(tmp_path):
    files = OutputFiles(tmp_path / "out.jsonl")
    write_metrics(files, RunMetrics(), {})

    assert orjson.loads(files.metrics.read_bytes()) == []


async def test_an_environments_metrics_are_the_same_in_a_process_of_their_own(tmp_path, monkeypatch):
    composed = compose(["+config_paths=[configs/quickstart.yaml]"], NoOptions)
    tree = resolved(composed.tree)
    placed = seats(composed.servers, ["gsm8k_simple_agent"])
    path = tmp_path / "out.jsonl"
    found = [row | {"agent_ref": {"name": "gsm8k_simple_agent"}, "extracted_answer": "4"} for row in rows(40, 10)]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in found))
    async with open_http() as http:
        clients = connect(placed, http, Deadlines(), tree)
        here = await own_metrics.own_metrics(path, "gsm8k_simple_agent", 40, clients)
        monkeypatch.setattr(own_metrics, "_MAX_ROWS_HERE", 0)
        there = await own_metrics.own_metrics(path, "gsm8k_simple_agent", 40, clients)
        await clients.close()

    assert here == there
    assert any(name.startswith("pass@") for name in there["agent_metrics"])


@pytest.mark.parametrize("labels", [[], [0], [2, 0, 2, 1, 0], [5, 10_000_000, 5], [-1, 3, -1]])
def test_groups_come_in_the_order_of_their_labels_whatever_those_are(labels):
    metrics = RunMetrics()
    for number, label in enumerate(labels):
        metrics.add({"_ng_task_index": label, "_ng_rollout_index": -number, "agent_ref": {"name": "a"}, "reward": 1.0})
    groups = list(metrics.agents["a"].group_metrics("a")) if labels else []

    assert [group["_ng_task_index"] for group in groups] == sorted(set(labels))
    for group in groups:
        indices = [info["_ng_rollout_index"] for info in group["rollout_infos"]]
        assert indices == sorted(indices)
        assert len(indices) == labels.count(group["_ng_task_index"])


def test_tasks_of_two_inputs_that_share_labels_are_groups_of_their_own():
    metrics = RunMetrics()
    for file in "ab":
        for label in range(3):
            row = {"_ng_task_index": label, "_ng_rollout_index": 0, "agent_ref": {"name": "a"}, "reward": 1.0}
            metrics.add({**row, "_ng_key": f"{file}{label}"})
    groups = list(metrics.agents["a"].group_metrics("a"))

    assert [group["_ng_task_index"] for group in groups] == [0, 1, 2, 3, 4, 5]
    assert all(group["num_rollouts"] == 1 for group in groups)
    assert len({info["rollout_id"] for group in groups for info in group["rollout_infos"]}) == 6
