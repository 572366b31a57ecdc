"""A vLLM server that is killed in the middle of a run takes no rollout with it."""

import asyncio

import pytest

from tests.collect.workspace import identities
from tests.vllm.engines import Engine
from tests.vllm.scripts import data, number, play, weather

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


@pytest.mark.parametrize("kill", [Engine.kill_model, Engine.kill], ids=["its_model", "all_of_it"])
async def test_a_server_killed_in_the_middle_of_a_run_loses_no_row(workspace, engines, kill):
    tasks = [number(row, 1.0) for row in data("gsm8k")] + [weather(row, 1.0) for row in data("simple_weather")]
    victim, survivor = engines

    playing = asyncio.create_task(play(workspace, tasks, "+num_repeats=3", "+concurrency=100"))
    while victim.sessions().total() < 20:  # of the 50 that it gets at once
        assert not playing.done(), playing.result()
        await asyncio.sleep(0.02)
    kill(victim)
    rows = await playing

    assert len(set(identities(rows))) == len(rows) == 3 * len(tasks)
    assert {row["reward"] for row in rows} == {1.0}
    assert not workspace.rows("rollouts_failures.jsonl")
    moved = victim.sessions().keys() & survivor.sessions().keys()
    assert moved  # what the victim was asked and could not answer any more
    assert len(victim.sessions().keys() | survivor.sessions().keys()) == len(rows)
