"""`kill -9` at any moment costs nothing: the same command again finishes the work."""

import asyncio
import os
import random
import signal
from pathlib import Path

import orjson

from tests.collect.workspace import arguments, children_of, identities

KILLS = 50
ROWS = 2000
IN_FLIGHT = 20


async def test_fifty_kills_at_random_moments_lose_nothing_and_repeat_only_what_was_in_flight(workspace, engines):
    # About 35 rows between two kills, so that the run is still going at the fiftieth.
    [engine] = await engines(latency={"ttft_s": 0.15, "jitter": 0.9})
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", ROWS)
    words = arguments(input_jsonl_fpath="tasks.jsonl", concurrency=IN_FLIGHT)
    output = workspace.path / "results/rollouts.jsonl"
    draw = random.Random(7)
    in_flight_at_kills = 0
    for _ in range(KILLS):
        child = await workspace.start("collect_rollouts", *words)
        calls = engine.stats.calls
        while engine.stats.calls == calls:  # it has begun to play
            await asyncio.sleep(0.005)
        await asyncio.sleep(draw.uniform(0.0, 0.4))
        assert child.returncode is None, (await child.communicate())[1]
        os.killpg(child.pid, signal.SIGKILL)
        await child.communicate()
        in_flight_at_kills += engine.stats.calls - output.read_bytes().count(b"\n") - in_flight_at_kills

    run = await workspace.collect(*words, "++num_samples_in_parallel=500")

    assert run.code == 0, run.err
    lines = output.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"}\n") for line in lines)
    rows = [orjson.loads(line) for line in lines]
    assert len(set(identities(rows))) == len(rows) == ROWS
    assert {row["question"] for row in rows} == {f"How much is {n} plus {n}?" for n in range(ROWS)}
    assert engine.stats.calls - ROWS == in_flight_at_kills <= KILLS * IN_FLIGHT


async def test_a_kill_leaves_no_server_behind(workspace):
    words = [
        "+config_paths=[configs/quickstart.yaml]",
        "+agent_name=gsm8k_simple_agent",
        "+input_jsonl_fpath=resources_servers/gsm8k/data/example.jsonl",
        "+output_jsonl_fpath=rollouts.jsonl",
        "+num_repeats=200",
        "++policy_model.responses_api_models.simulated_model.engine.latency.ttft_s=0.05",
        "+concurrency=5",
    ]
    child = await workspace.start("collect_rollouts", *words)
    while len(workspace.rows("rollouts.jsonl")) < 5:
        await asyncio.sleep(0.05)
        assert child.returncode is None, (await child.communicate())[1]
    servers = children_of(child.pid)
    assert servers
    os.kill(child.pid, signal.SIGKILL)
    await child.communicate()
    for _ in range(100):
        if not any(alive(pid) for pid in servers):
            break
        await asyncio.sleep(0.1)

    assert not any(alive(pid) for pid in servers)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
