"""An engine in the collector's own process: asked, started again when it dies, and gone when the collector is gone."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.collect.workspace import Workspace, identities, until_gone

FILE = "responses_api_models/offline_vllm_model/configs/offline_vllm_model.yaml"
BLOCK = "policy_model.responses_api_models.offline_vllm_model"
STAND_IN = Path(__file__).parent / "stand_in"
TASKS = 40


@pytest.fixture
def workspace(tmp_path):
    paths = os.pathsep.join([str(STAND_IN), str(Path.cwd())])
    environment = {"PYTHONPATH": paths, "STAND_IN_PIDS": str(tmp_path / "pids"), "PYTHONWARNINGS": "error"}
    workspace = Workspace(tmp_path, environment)
    workspace.write_tasks("tasks.jsonl", TASKS)
    return workspace


def words(*more, file=FILE):
    return (
        f"+config_paths=[{file},resources_servers/gsm8k/configs/gsm8k.yaml]",
        "+policy_model_name=tiny",
        "+agent_name=gsm8k_simple_agent",
        "+input_jsonl_fpath=tasks.jsonl",
        "+output_jsonl_fpath=rollouts.jsonl",
        *more,
    )


async def begun(workspace, is_there):
    """A collection that has come as far as that."""
    command = await workspace.start("collect_rollouts", *words())
    async with asyncio.timeout(30):
        while not is_there():
            await asyncio.sleep(0.05)
    return command


async def ended_by_ctrl_c(command):
    os.killpg(command.pid, signal.SIGINT)
    _, said = await asyncio.wait_for(command.communicate(), 20)
    assert command.returncode == 130, said.decode()
    assert b"Traceback" not in said, said.decode()


def pids(workspace):
    """The engine's processes, one for each of its lives."""
    path = workspace.path / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


async def test_rollouts_are_played_without_a_server_and_the_engine_ends_with_the_run(workspace):
    workspace.write("env.yaml", "hf_token: hf_mine_and_nobody_elses\n")

    run = await workspace.collect(*words(f"++{BLOCK}.engine_args.max_num_seqs=4"))

    assert run.code == 0, run.err
    rows = workspace.rows("rollouts.jsonl")
    assert len(set(identities(rows))) == len(rows) == TASKS
    assert "engine of policy_model: loading the model" in run.err
    assert "engine of policy_model: ready" in run.err
    assert (
        "Starting to load model tiny for hf_mine" in (workspace.path / "results/vllm_logs/policy_model.log").read_text()
    )
    assert not [line for line in run.err.splitlines() if "Warning" in line or "Traceback" in line]
    [pid] = pids(workspace)
    await until_gone([pid])
    again = await workspace.collect(*words(f"++{BLOCK}.engine_args.max_num_seqs=4"))
    assert again.code == 0
    assert pids(workspace) == [pid], "nothing was left to play"


async def test_an_engine_that_dies_is_loaded_again_and_no_rollout_is_lost(workspace):
    rows = workspace.rows("tasks.jsonl")
    rows[TASKS // 2]["responses_create_params"]["input"][0]["content"] = "die now"
    workspace.write("tasks.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))

    run = await workspace.collect(*words("+concurrency=4", f"++{BLOCK}.routing.rest_s=0.2", f"++{BLOCK}.backoff_s=0.1"))

    assert run.code == 0, run.err
    assert len(set(identities(workspace.rows("rollouts.jsonl")))) == TASKS
    assert "engine of policy_model died" in run.err
    assert "restart 1 of 5" in run.err
    first, second = pids(workspace)
    await until_gone([first, second])


async def test_an_engine_that_dies_too_often_ends_the_run_and_keeps_what_was_played(workspace):
    rows = workspace.rows("tasks.jsonl")
    rows[-1]["responses_create_params"]["input"][0]["content"] = "die now"
    workspace.write("tasks.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))

    run = await workspace.collect(*words("+concurrency=1", f"++{BLOCK}.restarts=0"))

    assert run.code == 1, run.err
    assert "crashed 1 times in a row and stays down" in run.err
    assert len(workspace.rows("rollouts.jsonl")) == TASKS - 1
    await until_gone(pids(workspace))


async def test_a_killed_collector_takes_its_engine_with_it(workspace):
    workspace.environment["STAND_IN_DIES"] = "never"
    command = await begun(workspace, lambda: pids(workspace))

    command.kill()
    await command.wait()

    await until_gone(pids(workspace))


async def test_ctrl_c_while_the_model_loads_ends_the_command_and_the_engine(workspace):
    workspace.environment["STAND_IN_DIES"] = "never"
    command = await begun(workspace, lambda: pids(workspace))

    await ended_by_ctrl_c(command)
    await until_gone(pids(workspace))


async def test_ctrl_c_while_vllm_is_imported_starts_no_engine_afterwards(workspace):
    workspace.environment["STAND_IN_IMPORT_S"] = "2"
    command = await begun(workspace, (workspace.path / "importing").exists)

    await ended_by_ctrl_c(command)
    assert not pids(workspace)


async def test_a_call_that_takes_too_long_is_taken_back_from_the_engine(workspace):
    workspace.write_tasks("tasks.jsonl", 1, "slow {n}")

    run = await workspace.collect(*words("+deadlines.call_s=0.5", f"++{BLOCK}.routing.attempts=1"))

    assert run.code == 3, run.err
    assert workspace.rows("rollouts_failures.jsonl")[0]["_ng_failure_class"] == "timeout"
    assert (workspace.path / "aborted").exists()


async def test_an_engine_that_cannot_load_says_why_and_what_to_change(workspace):
    workspace.environment["STAND_IN_DIES"] = "out of memory"

    run = await workspace.collect(*words())

    assert run.code == 1
    assert "CUDA out of memory" in run.err
    assert "lower max_model_len, max_num_seqs or gpu_memory_utilization" in run.err
    assert not workspace.rows("rollouts.jsonl")


async def test_an_engine_that_takes_too_long_is_given_up(workspace):
    workspace.environment["STAND_IN_DIES"] = "never"

    run = await workspace.collect(*words(f"++{BLOCK}.start_timeout_s=1"))

    assert run.code == 1
    assert "was not ready within 1 s, it was " in run.err
    await until_gone(pids(workspace))


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        (f"++{BLOCK}.engine_args.swap_space=4", "this version of vLLM does not know `swap_space`"),
        (f"++{BLOCK}.engine_args.max_num_seqs=many", "argument --max-num-seqs: invalid int value: 'many'"),
        (f"++{BLOCK}.engine_args.port=8000", "engine_args names port"),
        (f"++{BLOCK}.base_url=http://127.0.0.1:1/v1", "an engine in the collector has no base_url"),
        ("+num_workers=2", "the engine is in the collector's process, where workers are not"),
        ("++policy_model_name=''", "no `model`"),
        ("++policy_model_name=./nowhere", "model: there is no ./nowhere"),
        (f"++{BLOCK}.engine_args=5", "engine_args: input should be a valid dictionary, got 5"),
    ],
)
async def test_what_it_cannot_do_is_told_before_anything_is_loaded(workspace, word, wanted):
    run = await workspace.collect(*words(word))

    assert run.code == 2, run.err
    assert wanted in run.err
    assert not pids(workspace)
    assert not workspace.rows("rollouts.jsonl")


async def test_a_log_that_cannot_be_written_is_told_before_anything_is_loaded(workspace):
    workspace.write("a_file", "")

    run = await workspace.collect(*words(f"++{BLOCK}.log_dir=a_file"))

    assert run.code == 1
    assert "cannot write the log of engine of policy_model" in run.err
    assert "Traceback" not in run.err
    assert not pids(workspace)


async def test_a_second_run_in_a_folder_leaves_the_first_one_s_log_alone(workspace):
    workspace.environment["STAND_IN_DIES"] = "never"
    first = await workspace.start("collect_rollouts", *words())
    async with asyncio.timeout(30):
        while not pids(workspace):
            await asyncio.sleep(0.05)
    workspace.environment["STAND_IN_DIES"] = ""
    second = await workspace.collect(*words("++output_jsonl_fpath=second.jsonl"))
    first.kill()
    await first.wait()

    assert second.code == 0, second.err
    logs = workspace.path / "results/vllm_logs"
    assert "starts" in (logs / "policy_model.log").read_text()
    assert "starts" in (logs / "policy_model.2.log").read_text()
    await until_gone(pids(workspace))


async def test_a_python_without_vllm_and_a_server_of_it_are_told_what_to_use(workspace):
    served = await workspace.run("run", *words()[:2], "+head_server.port=0")
    workspace.environment["PYTHONPATH"] = str(Path.cwd())
    without = await workspace.collect(*words())

    assert served.code != 0
    assert "which no server can ask" in served.err
    assert without.code == 2
    assert "this Python has no vLLM" in without.err


async def test_presets_of_machines_hold_for_it_too(workspace):
    preset = "configs/hardware/1xh100_80gb.yaml"

    run = await workspace.run("dump_config", *words(file=f"{FILE},{preset}")[:2])

    assert run.code == 0, run.err
    assert "local_vllm_model" not in run.out.partition("config_paths")[0]
    assert "gpu_memory_utilization: 0.95" in run.out
    assert "tool_call_parser: hermes" in run.out


async def test_a_run_goes_on_with_less_memory_and_its_files_hold_no_secret(workspace):
    settings = [f"++{BLOCK}.engine_args.max_num_seqs=64", f"++{BLOCK}.env_vars.HF_TOKEN=hf_private"]
    first = await workspace.collect(*words("+limit=3", *settings))
    assert first.code == 0, first.err

    settings[0] = f"++{BLOCK}.engine_args.max_num_seqs=4"
    again = await workspace.collect(*words(*settings))
    refused = await workspace.collect(*words(f"++{BLOCK}.engine_args.max_model_len=512", *settings))

    assert again.code == 0, again.err
    assert len(workspace.rows("rollouts.jsonl")) == TASKS
    assert "engine_args.max_model_len" in refused.err
    files = [path for path in workspace.path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hf_private" in path.read_bytes()]
