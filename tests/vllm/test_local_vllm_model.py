"""`ng_run` starts two vLLM servers itself, and runs go on while one is killed and the other hangs."""

import asyncio
import json
import os
import signal
import urllib.request

import psutil
import pytest
import yaml

from nemo_gym_lite.config.roots import INSTALL_ROOT
from responses_api_models.local_vllm_model.arguments import known_flags, unknown_arguments
from tests.collect.workspace import Workspace, identities
from tests.vllm.engines import ENVIRONMENT, MODEL, NOT_INHERITED, VENV
from tests.vllm.scripts import data
from tests.vllm.test_documented_commands import ng_run

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

ENGINE_ARGS = {
    "served_model_name": "tiny",
    "dtype": "float32",
    "kv_cache_memory_bytes": 64 * 2**20,
    "block_size": 32,
    "max_model_len": 2048,
    "max_num_seqs": 64,
    "enforce_eager": True,
    "tool_strict_level": "parameter",
}
ENVIRONMENTS = ("simple_weather", "gsm8k")
REPEATS = 6
HANG_S = 12.0
DOCUMENTED = {
    *("tensor_parallel_size", "gpu_memory_utilization", "max_model_len", "max_num_batched_tokens", "max_num_seqs"),
    *("dtype", "enable_prefix_caching", "enable_chunked_prefill", "enforce_eager", "swap_space", "tool_call_parser"),
}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    for name in NOT_INHERITED:
        monkeypatch.delenv(name, raising=False)
    workspace = Workspace(tmp_path)
    settings = {
        "model": str(MODEL),
        "num_replicas": 2,
        "hang_s": HANG_S,
        "executable": str(VENV / "bin/vllm"),
        "engine_args": ENGINE_ARGS,
        "env_vars": {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"},
    }
    files = ["responses_api_models/local_vllm_model/configs/local_vllm_model.yaml"]
    files += [f"resources_servers/{name}/configs/{name}.yaml" for name in ENVIRONMENTS]
    block = {"responses_api_models": {"local_vllm_model": settings}}
    workspace.write("all.yaml", json.dumps({"config_paths": files, "policy_model": block}))
    return workspace


def running_engines():
    """Every program on this machine that serves the tiny model; those of other tests too."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "engine_process.py" not in " ".join(words[:4]) and "serve" in words and str(MODEL) in words:
            yield int(words[words.index("--port") + 1]), process


@pytest.fixture
def started_engines():
    """Tells the running programs of the replicas that a test started, by port."""
    others = {process.pid for _, process in running_engines()}
    return lambda: {port: process for port, process in running_engines() if process.pid not in others}


def finished(port):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        page = reply.read().decode()
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith("vllm:request_success_total{"))


async def collected(workspace, head, name, output):
    run = await workspace.collect(
        f"+agent_name={name}_simple_agent",
        f"+input_jsonl_fpath=resources_servers/{name}/data/example.jsonl",
        f"+output_jsonl_fpath=results/{output}.jsonl",
        f"+num_repeats={REPEATS}",
        "+concurrency=16",
        "+responses_create_params.max_output_tokens=64",
        head,
        timeout_s=300,
    )
    assert run.code == 0, run.err
    rows = workspace.rows(f"results/{output}.jsonl")
    assert len(set(identities(rows))) == len(rows)
    return rows


def freeze_core(engine):
    """Stop what holds the model; the engine goes on to answer that it is healthy."""
    cores = [child for child in engine.children(recursive=True) if child.name().startswith("VLLM::")]
    assert cores
    for core in cores:
        core.send_signal(signal.SIGSTOP)


async def test_no_row_is_lost_when_a_replica_is_killed_or_hangs_and_both_are_started_again(workspace, started_engines):
    async with ng_run(workspace, "all.yaml", ready_s=400) as head:
        engines = started_engines()
        assert len(engines) == 2
        victim = min(engines)
        playing = asyncio.create_task(collected(workspace, head, "gsm8k", "gsm8k"))
        while len(workspace.rows("results/gsm8k.jsonl")) < 10:
            await asyncio.sleep(0.1)
        engines[victim].send_signal(signal.SIGKILL)
        rows = await playing
        assert len(rows) == len(data("gsm8k")) * REPEATS
        async with asyncio.timeout(300):
            while victim not in started_engines() or not await asyncio.to_thread(answers, victim):
                await asyncio.sleep(0.5)
        assert started_engines()[victim].pid != engines[victim].pid
        other = max(engines)
        assert finished(other) > 0
        freeze_core(engines[other])
        assert answers(other)
        weather = await collected(workspace, head, "simple_weather", "weather")
        assert len(weather) == len(data("simple_weather")) * REPEATS
        assert finished(victim) > 0
        async with asyncio.timeout(60):
            while other not in started_engines() or started_engines()[other].pid == engines[other].pid:
                await asyncio.sleep(0.5)
    assert not started_engines()


async def test_arguments_of_presets_and_guides_are_known(workspace):
    variables = {**os.environ, **ENVIRONMENT}
    known = await known_flags(str(VENV / "bin/vllm"), variables)
    presets = [yaml.safe_load(path.read_text()) for path in sorted((INSTALL_ROOT / "configs/hardware").glob("*.yaml"))]

    used = {name for preset in presets for name in find_arguments(preset)}

    assert "max_num_seqs" in used
    assert unknown_arguments(dict.fromkeys(used), known) == []
    assert unknown_arguments(dict.fromkeys(DOCUMENTED), known) == ["swap_space"]


def find_arguments(preset):
    return preset["policy_model"]["responses_api_models"]["local_vllm_model"]["engine_args"]


async def test_why_an_engine_cannot_start_is_told(workspace, started_engines):
    engine = "policy_model.responses_api_models.local_vllm_model.engine_args"
    cases = {
        f"++{engine}.swap_space=4": ("does not know `swap_space`", "take them out of engine_args"),
        f"++{engine}.kv_cache_memory_bytes=65536": ("its last lines", "out of memory: lower max_model_len"),
    }
    for word, wanted in cases.items():
        run = await workspace.run("run", "+config_paths=[all.yaml]", word, timeout_s=300)

        assert run.code != 0
        for part in wanted:
            assert part in run.err, run.err
    assert not started_engines()


def answers(port):
    try:
        finished(port)
    except OSError:
        return False
    return True
