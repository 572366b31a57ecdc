"""The pages about starting vLLM, word for word, and engines described in a user's own files; a stand-in plays vLLM."""

import json
import os
import re
import shlex
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nemo_gym_lite.config.ports import PORT_RANGE, free_port
from responses_api_models.local_vllm_model.tests import stand_in_vllm
from tests.collect.workspace import Workspace

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs/guides"
ENGINE_FILE = """
vllm_model:
  model_name: meta-llama/Llama-3.1-70B-Instruct
  tensor_parallel_size: 1
  gpu_memory_utilization: 0.95
  max_model_len: 8192
  max_num_batched_tokens: 8192
  dtype: auto
"""
ENVIRONMENT_FILE = """
my_resource: {resources_servers: {gsm8k: {entrypoint: app.py, domain: math, placement: near}}}
my_agent:
  responses_api_agents:
    simple_agent:
      entrypoint: app.py
      resources_server: {type: resources_servers, name: my_resource}
      model_server: {type: responses_api_models, name: policy_model}
"""


@pytest.fixture
def workspace(tmp_path):
    """A user's folder on a machine with eight GPUs, and `vllm` on its PATH."""
    workspace = Workspace(tmp_path)
    workspace.write("env.yaml", "")  # or that of a developer would be read
    program = workspace.write("bin/vllm", f'#!/bin/sh\nexec {sys.executable} {stand_in_vllm.__file__} "$@"\n')
    program.chmod(0o755)
    workspace.environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "STAND_IN_FOLDER": str(tmp_path),
    }
    return workspace


@asynccontextmanager
async def running(workspace, words):
    """`ng_run` with these words, ready; yields the word that leads a collection to it."""
    head = f"+head_server.port={free_port('127.0.0.1', (), *PORT_RANGE)}"
    child = await workspace.start("run", *words, head)
    said = b""
    try:
        while b"servers ready" not in said:
            line = await child.stdout.readline()
            assert line, said + await child.stderr.read()
            said += line
        yield head
    finally:
        child.send_signal(signal.SIGINT)
        _, err = await child.communicate()
    assert b"all servers stopped" in err
    assert b"Traceback" not in err


def commands_of(page, name):
    """The words of every command `name` on a page."""
    for block in re.findall(r"```bash\n(.*?)```", (GUIDES / page).read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == name:
                yield words[1:]


def arguments_of(workspace):
    """What each engine was started with: the values of its flags."""
    for path in workspace.path.glob("arguments_*"):
        yield dict(re.findall(r"--(\S+)(?: (?!--)(\S+))?", " ".join(json.loads(path.read_text()))))


@pytest.mark.parametrize(("page", "replicas", "gpus"), [("many-replicas.md", 8, 1), ("hardware-presets.md", 1, 8)])
async def test_the_commands_of_a_page_start_engines_and_collect(workspace, page, replicas, gpus):
    run, collect = next(commands_of(page, "ng_run")), next(commands_of(page, "ng_collect_rollouts"))

    async with running(workspace, run) as head:
        done = await workspace.collect(*collect, "+limit=24", head)

    assert done.code == 0, done.err
    [output] = [word.partition("=")[2] for word in collect if word.startswith("+output_jsonl_fpath=")]
    rows = workspace.rows(output)
    arms = 4 if any("arms" in word for word in collect) else 1
    assert len(rows) == 24 * arms
    used = {row["response"]["output"][-1]["content"][0]["text"] for row in rows}  # the stand-in says its GPUs
    assert used == {",".join(map(str, range(n * gpus, (n + 1) * gpus))) for n in range(replicas)}
    started = list(arguments_of(workspace))
    assert len(started) == replicas
    assert {each.get("tensor-parallel-size", "1") for each in started} == {str(gpus)}


async def test_an_engine_described_in_a_users_file_is_started_and_collected_from(workspace):
    engine = "responses_api_models/vllm_model/configs/my_vllm.yaml"
    environment = "resources_servers/MY_RESOURCE/configs/my_resource.yaml"
    workspace.write(engine, ENGINE_FILE)
    workspace.write(environment, ENVIRONMENT_FILE)
    workspace.write_tasks("train.jsonl", 60)

    async with running(workspace, [f"+config_paths=[{environment},{engine}]"]) as head:
        run = await workspace.collect(
            *("+agent_name=my_agent", "+input_jsonl_fpath=train.jsonl", "+output_jsonl_fpath=rollouts.jsonl"),
            *("+responses_create_params.max_output_tokens=1024", "+num_samples_in_parallel=20", "+limit=null", head),
        )

    assert run.code == 0, run.err
    assert len(workspace.rows("rollouts.jsonl")) == 60
    assert workspace.json("rollouts_run.json")["counts"]["max_in_flight"] <= 20
    [started] = arguments_of(workspace)
    asked = {"tensor-parallel-size": "1", "gpu-memory-utilization": "0.95", "dtype": "auto"}
    asked |= {"max-model-len": "8192", "max-num-batched-tokens": "8192"}
    assert asked.items() <= started.items()
