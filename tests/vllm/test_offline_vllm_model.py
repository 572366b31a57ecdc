"""vLLM in the collector's own process, beside the same vLLM behind a server: the same rows, and no port."""

import asyncio
import json
import os
from pathlib import Path

import psutil
import pytest

from tests.collect.workspace import Workspace, identities
from tests.vllm.engines import ENVIRONMENT, MODEL, NOT_INHERITED, VENV
from tests.vllm.scripts import data
from tests.vllm.test_local_vllm_model import ENGINE_ARGS

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

ARMS = 8
TASKS = 64


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    for name in NOT_INHERITED:
        monkeypatch.delenv(name, raising=False)
    workspace = Workspace(tmp_path, {"PYTHONPATH": str(Path.cwd())})
    rows = [{**row, "question": f"{row['question']} ({number})"} for row in data("gsm8k") for number in range(TASKS)]
    for number, row in enumerate(rows):
        row["responses_create_params"] = {"input": [{"role": "user", "content": f"{number}. {row['question']}"}]}
    workspace.write("tasks.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows[:TASKS]))
    arms = [{"name": f"arm_{number}", "system": "Think. " * number or "Answer."} for number in range(ARMS)]
    workspace.write("arms.yaml", json.dumps({"arms": arms}))
    return workspace


def words(workspace, model, output):
    """The words of `ng_collect_rollouts` that play the tasks under all arms, greedily, with token ids."""
    settings = {
        "model": str(MODEL),
        "engine_args": ENGINE_ARGS,
        "env_vars": {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"},
        "return_token_id_information": True,
    } | ({"executable": str(VENV / "bin/vllm")} if model == "local_vllm_model" else {})
    block = {"policy_model": {"responses_api_models": {model: settings}}}
    workspace.write(f"{model}.yaml", json.dumps(block))
    files = [f"responses_api_models/{model}/configs/{model}.yaml", f"{model}.yaml"]
    return (
        f"+config_paths=[{','.join(files)},resources_servers/gsm8k/configs/gsm8k.yaml]",
        "+agent_name=gsm8k_simple_agent",
        "+input_jsonl_fpath=tasks.jsonl",
        f"+output_jsonl_fpath={output}.jsonl",
        "+arms_fpath=arms.yaml",
        "+question_batch_size=16",
        "+responses_create_params.temperature=0",
        "+responses_create_params.max_output_tokens=16",
    )


async def offline(workspace, *words, python=VENV / "bin/python"):
    """Begin a collection in the Python that has vLLM."""
    return await asyncio.create_subprocess_exec(
        *(python, "-m", "nemo_gym_lite.cli.collect_rollouts", *words),
        cwd=workspace.path,
        env={**os.environ, **workspace.environment},
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


def said(row):
    """What the model was asked and said, as tokens and as text."""
    items = row["response"]["output"]
    names = ("prompt_token_ids", "generation_token_ids")
    texts = [part["text"] for item in items for part in item.get("content") or item.get("summary") or ()]
    return [[item.get(name) for name in names] for item in items], texts


async def test_greedy_rows_are_those_of_a_served_engine_and_nothing_listens(workspace):
    served = await workspace.collect(*words(workspace, "local_vllm_model", "served"), timeout_s=300)
    assert served.code == 0, served.err

    command = await offline(workspace, *words(workspace, "offline_vllm_model", "offline"))
    finished = asyncio.create_task(command.communicate())
    listening = set()
    while not finished.done():
        await asyncio.wait({finished}, timeout=0.25)
        with_psutil = psutil.Process(command.pid) if command.returncode is None else None
        listening |= set(ports_of(with_psutil))
    assert command.returncode == 0, finished.result()[1].decode()

    expected = {row["_ng_key"]: row for row in workspace.rows("served.jsonl")}
    rows = workspace.rows("offline.jsonl")
    assert len(rows) == len(expected) == len(set(identities(rows))) == TASKS * ARMS
    assert {row["_ng_key"] for row in rows} == set(expected)
    assert all(said(row)[0][-1][1] for row in rows)
    assert [said(row) for row in rows] == [said(expected[row["_ng_key"]]) for row in rows]
    assert not listening


async def test_an_engine_that_is_killed_is_loaded_again_and_no_row_is_lost(workspace):
    command = await offline(workspace, *words(workspace, "offline_vllm_model", "killed"))
    finished = asyncio.create_task(command.communicate())
    while len(workspace.rows("killed.jsonl")) < 10:
        assert not finished.done(), finished.result()[1].decode()
        await asyncio.sleep(0.1)

    [core] = [child for child in psutil.Process(command.pid).children() if "EngineCore" in child.name()]
    core.kill()
    _, said = await finished

    assert command.returncode == 0, said.decode()
    assert b"restart 1 of 5" in said
    rows = workspace.rows("killed.jsonl")
    assert len(rows) == len(set(identities(rows))) == TASKS * ARMS


def ports_of(process):
    """Ports on which a process listens."""
    try:
        found = process.net_connections() if process is not None else []
    except psutil.Error:
        return
    yield from (each.laddr for each in found if each.status == psutil.CONN_LISTEN)
