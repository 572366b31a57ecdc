"""Environments and agents written for NeMo Gym, from its interface alone, run here as they are (`root/`)."""

import asyncio

import pytest

from tests.collect.test_with_ng_run import comparable, running
from tests.compat.conftest import ROOT

VLLM = "responses_api_models/vllm_model/configs/vllm_model.yaml"
JUDGE = "responses_api_models/vllm_model/configs/vllm_judge_model.yaml"
GSM8K = "resources_servers/gsm8k/configs/gsm8k.yaml"
PARCELS = "resources_servers/parcel_desk/configs/parcel_desk.yaml"
VERSE = "resources_servers/verse_critic/configs/verse_critic.yaml"
SECOND_LOOK = "responses_api_agents/second_look_agent/configs/second_look_agent.yaml"

FOLDERS = sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("re*/*/app.py"))

PARCELS_KEYS = str(ROOT / "resources_servers/parcel_desk/data/example.jsonl")


def played(agent, environment, output, *more):
    """Words of a collection."""
    return [
        f"+agent_name={agent}",
        f"+input_jsonl_fpath=resources_servers/{environment}/data/example.jsonl",
        f"+output_jsonl_fpath={output}.jsonl",
        *more,
    ]


async def models(engines):
    """Engines of their own for policy and judge, and the words that point to them."""
    [policy] = await engines(1, accuracy=1.0, answer_keys=[PARCELS_KEYS])
    [judge] = await engines()
    urls = {"policy": policy.base_url, "judge": judge.base_url}
    words = [f"++{role}_base_url={url}" for role, url in urls.items()]
    words += [f"++{role}_{key}=simulated" for role in urls for key in ("api_key", "model_name")]
    return policy, judge, words


async def test_all_of_them_start_with_ng_run_and_are_collected_from(authors, engines):
    policy, judge, words = await models(engines)
    async with running(authors, VLLM, JUDGE, GSM8K, PARCELS, VERSE, SECOND_LOOK, more=words) as head:
        runs = await asyncio.gather(
            authors.collect(*played("parcel_desk_simple_agent", "parcel_desk", "parcels"), head),
            authors.collect(*played("verse_critic_agent", "verse_critic", "verse", "+num_repeats=2"), head),
            authors.collect(*played("second_look_agent", "gsm8k", "looks", "+limit=5"), head),
        )

    assert [run.code for run in runs] == [0, 0, 0], "\n".join(run.err for run in runs)
    parcels, verse, looks = (authors.rows(f"{name}.jsonl") for name in ("parcels", "verse", "looks"))
    assert [(row["reward"], row["moves"], row["fees"]) for row in parcels] == [(1.0, 1, 2.5)] * 4
    assert all(row["left_as"] == row["wanted"] for row in parcels)
    assert len(verse) == judge.stats.completed == 8
    assert {row["reward_components"]["sense"] for row in verse} <= {0.0, 1.0}
    assert [row["looks"] for row in looks] == [2] * 5
    assert all(len(row["response"]["output"]) == 2 for row in looks)
    assert (
        policy.stats.completed == sum(row["response"]["usage"]["output_tokens"] > 0 for row in verse) + 10 + 2 * 4 + 2
    )
    [metrics] = authors.json("verse_aggregate_metrics.json")
    assert "pass@2/accuracy" in metrics["key_metrics"]
    assert [len(group["judged_in_turn"]) for group in metrics["group_level_metrics"]] == [2] * 4


@pytest.mark.parametrize(
    ("agent", "environment", "paths"),
    [
        ("parcel_desk_simple_agent", "parcel_desk", [VLLM, PARCELS]),
        ("verse_critic_agent", "verse_critic", [VLLM, JUDGE, VERSE]),
    ],
    ids=["catch_all_tools", "judge"],
)
async def test_near_and_far_give_the_same_rows(authors, engines, agent, environment, paths):
    async def run(place):
        _, _, words = await models(engines)
        words.append(f"++{environment}.resources_servers.{environment}.placement={place}")
        return await authors.collect(f"+config_paths=[{','.join(paths)}]", *played(agent, environment, place), *words)

    for done in await asyncio.gather(run("near"), run("far")):
        assert done.code == 0, done.err

    near, far = (comparable(authors.rows(f"{place}.jsonl")) for place in ("near", "far"))
    assert len(near) == 4
    assert [[*row] for row in near] == [[*row] for row in far]
    assert near == far
    assert authors.json("near_aggregate_metrics.json") == authors.json("far_aggregate_metrics.json")


@pytest.mark.parametrize("folder", FOLDERS)
async def test_their_own_tests_pass(authors, folder):
    run = await authors.run("test", f"+entrypoint={folder}")

    assert run.code == 0, run.out + run.err
    assert " passed" in run.out
