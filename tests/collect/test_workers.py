"""`+num_workers=N`: several processes play, one plans and writes, and a death costs nothing but time."""

import asyncio
import contextlib
import os
import signal
from collections import Counter

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.interpolation import resolved
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.rollouts import workers as crews
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.rollouts.worker import Setup
from tests.collect.test_kills import alive
from tests.collect.workspace import arguments, children_of, identities

ROWS_KILLED = 1200
KILL_EVERY_S = 0.5
MOST_KILLS = 16

FRAGILE = """
import os, signal, sys

from nemo_gym_lite.base_resources_server import BaseVerifyRequest, BaseVerifyResponse, SimpleResourcesServer

if sys.argv[0].endswith("rollouts/worker.py") and os.path.exists("refuse"):
    raise RuntimeError("no licence for this many")


class Fragile(SimpleResourcesServer):
    async def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        question = body.responses_create_params.input[0].content
        if question.startswith("How much is 7 "):
            print("the seventh is coming")
            os.kill(os.getpid(), signal.SIGKILL)
        return BaseVerifyResponse(**body.model_dump(), reward=1.0)


if __name__ == "__main__":
    Fragile.run_webserver()
"""

FRAGILE_CONFIG = """
fragile:
  resources_servers:
    fragile:
      entrypoint: app.py
      domain: other
      placement: near
fragile_simple_agent:
  responses_api_agents:
    simple_agent:
      entrypoint: app.py
      resources_server: {type: resources_servers, name: fragile}
      model_server: {type: responses_api_models, name: policy_model}
"""


def fragile(workspace, count):
    """Words that play `count` tasks of which the one about 7 kills its worker when it is checked."""
    workspace.write("resources_servers/fragile/app.py", FRAGILE)
    workspace.write("resources_servers/fragile/configs/fragile.yaml", FRAGILE_CONFIG)
    workspace.write_tasks("tasks.jsonl", count)
    return arguments("fragile", input_jsonl_fpath="tasks.jsonl", num_workers=2)


async def test_several_workers_make_the_same_output_as_one_process(workspace, engines):
    tasks = workspace.write_tasks("tasks.jsonl", 300, "Put {n} plus {n} into \\boxed{{}}.")
    outputs = []
    for workers in (1, 3):
        [engine] = await engines(accuracy=0.6, answer_keys=[str(tasks)])
        workspace.points_to(engine.base_url)
        words = arguments(output=f"{workers}.jsonl", input_jsonl_fpath="tasks.jsonl", num_workers=workers)
        run = await workspace.collect(*words, "+concurrency=20")
        assert run.code == 0, run.err
        rows = workspace.rows(f"{workers}.jsonl")
        assert len(rows) == engine.stats.calls == 300
        kept = {identity: (row["reward"], set(row)) for identity, row in zip(identities(rows), rows, strict=True)}
        outputs.append((kept, workspace.json(f"{workers}_aggregate_metrics.json")))

    assert {reward for reward, _ in outputs[0][0].values()} == {0.0, 1.0}
    assert outputs[0] == outputs[1]


async def test_workers_that_are_killed_over_and_over_lose_nothing(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.15, "jitter": 0.9})
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", ROWS_KILLED)
    child = await workspace.start(
        "collect_rollouts", *arguments(input_jsonl_fpath="tasks.jsonl", num_workers=2, concurrency=40)
    )
    said = asyncio.create_task(child.communicate())
    output = workspace.path / "results/rollouts.jsonl"
    kills = 0
    while not said.done():
        before = engine.stats.calls
        await asyncio.wait({said}, timeout=KILL_EVERY_S)
        if engine.stats.calls > before and kills < MOST_KILLS and not said.done():  # they have begun to play
            with contextlib.suppress(ProcessLookupError, FileNotFoundError, IndexError):  # it has just ended
                os.kill(children_of(child.pid)[kills % 2], signal.SIGKILL)
                kills += 1
    _, err = await said

    rows = workspace.rows("results/rollouts.jsonl")
    assert child.returncode == 0, err.decode()
    assert output.read_bytes().endswith(b"}\n")
    assert len(set(identities(rows))) == len(rows) == ROWS_KILLED
    assert {row["question"] for row in rows} == {f"How much is {n} plus {n}?" for n in range(ROWS_KILLED)}
    assert kills >= 8
    played_twice = engine.stats.calls - ROWS_KILLED
    assert 0 < played_twice <= kills * 40
    assert b"was killed by SIGKILL" in err
    assert b"played again" in err


async def test_a_killed_collector_leaves_no_worker_behind(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 30.0})
    workspace.points_to(engine.base_url)
    child = await workspace.start("collect_rollouts", *arguments(num_workers=2))
    while not engine.stats.calls:
        await asyncio.sleep(0.05)
        assert child.returncode is None, (await child.communicate())[1]
    workers = children_of(child.pid)
    assert len(workers) == 2
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    for _ in range(100):
        if not any(map(alive, workers)):
            break
        await asyncio.sleep(0.05)

    assert not any(map(alive, workers))


async def test_ctrl_c_lets_workers_finish_and_the_same_command_goes_on(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.5})
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 200)
    words = arguments(input_jsonl_fpath="tasks.jsonl", num_workers=2, concurrency=20)
    child = await workspace.start("collect_rollouts", *words)
    while not engine.stats.completed:
        await asyncio.sleep(0.05)
        assert child.returncode is None, (await child.communicate())[1]
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does, to all that belong to it
    _, err = await child.communicate()

    assert child.returncode == 130, err.decode()
    assert b"was killed" not in err
    stopped = len(workspace.rows("results/rollouts.jsonl"))
    assert stopped == engine.stats.calls < 200
    run = await workspace.collect(*words, "++num_samples_in_parallel=100")
    assert run.code == 0, run.err
    assert engine.stats.calls == len(workspace.rows("results/rollouts.jsonl")) == 200


async def test_a_rollout_that_kills_its_worker_fails_alone_and_what_it_printed_is_shown(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.1})
    workspace.points_to(engine.base_url)

    run = await workspace.collect(*fragile(workspace, 40), "+concurrency=10")

    assert run.code == 3, run.err
    assert len(workspace.rows("results/rollouts.jsonl")) == 39
    [failure] = workspace.rows("results/rollouts_failures.jsonl")
    assert failure["question"] == "How much is 7 plus 7?"
    assert failure["_ng_failure_class"] == "worker_died"
    assert "killed by SIGKILL" in failure["_ng_failure_message"]
    assert "(worker 1) the seventh is coming" in run.err
    assert "(worker 2) the seventh is coming" in run.err


async def test_a_worker_that_cannot_start_ends_the_run_with_its_reason(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write("refuse", "")

    run = await workspace.collect(*fragile(workspace, 8))

    assert run.code == 1, run.err
    assert "cannot start: server 'fragile' cannot be loaded: RuntimeError: no licence for this many" in run.err
    assert engine.stats.calls == 0


async def test_sessions_are_spread_evenly_over_endpoints_although_each_worker_counts_for_itself(workspace, engines):
    four = await engines(4, latency={"ttft_s": 0.05, "jitter": 0.5})
    workspace.points_to(*(engine.base_url for engine in four))
    workspace.write_tasks("tasks.jsonl", 2000)

    run = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl", num_workers=2, concurrency=100))

    assert run.code == 0, run.err
    calls = Counter({engine.base_url: engine.stats.calls for engine in four})
    assert calls.total() == 2000
    assert max(calls.values()) <= 1.05 * calls.total() / 4


async def test_workers_share_what_an_endpoint_allows_per_minute(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    words = arguments(input_jsonl_fpath="tasks.jsonl", num_workers=2, max_wall_s=3, drain_s=0)
    workspace.write_tasks("tasks.jsonl", 50)

    run = await workspace.collect(*words, "++policy_model.responses_api_models.vllm_model.requests_per_minute=10")

    assert run.code == 4, run.err
    assert 0 < engine.stats.calls <= 10


async def test_workers_end_as_they_should_and_are_told_of_a_changed_list_of_endpoints(workspace, engines):
    first, second = await engines(2, latency={"ttft_s": 0.2})
    workspace.points_to(first.base_url)
    workspace.write_tasks("tasks.jsonl", 400)
    listed = workspace.write("endpoints.txt", first.base_url)
    words = arguments(input_jsonl_fpath="tasks.jsonl", num_workers=2, concurrency=20)
    block = "++policy_model.responses_api_models.vllm_model"
    child = await workspace.start("collect_rollouts", *words, f"{block}.endpoints_file={listed}")
    while not first.stats.completed:
        await asyncio.sleep(0.05)
        assert child.returncode is None, (await child.communicate())[1]
    listed.write_text(f"{first.base_url}\n{second.base_url}\n")
    os.kill(child.pid, signal.SIGHUP)
    _, err = await child.communicate()

    assert child.returncode == 0, err.decode()
    assert b"was killed" not in err
    assert second.stats.calls > 50
    assert first.stats.calls + second.stats.calls == 400


async def test_a_worker_that_hangs_is_replaced_and_its_rollouts_are_played(workspace, engines, monkeypatch):
    monkeypatch.chdir(workspace.path)
    monkeypatch.setattr(crews, "_SILENCE_S", 2.0)
    [engine] = await engines(latency={"ttft_s": 0.2})
    workspace.points_to(engine.base_url)
    tree = resolved(compose(arguments(), CollectOptions).tree)
    setup = Setup(tree, ["gsm8k_simple_agent"], True, Deadlines(verify_s=1.0), True, 2)
    row = {"responses_create_params": {"input": "How much is 1 plus 1?"}, "expected_answer": "2"}
    specs = [Spec(row, "key", n, 0, "gsm8k_simple_agent", n) for n in range(10)]
    said = []
    async with crews.WorkerCrew(setup, Ticker(), said.append) as crew:
        os.kill(children_of(os.getpid())[0], signal.SIGSTOP)

        lines = await asyncio.gather(*map(crew.play, specs))

    assert [line.failure_class for line in lines] == [None] * len(specs)
    assert any("has said nothing for 3 s and is ended" in line for line in said)
