"""Engines that a run starts: ready, divided, logged, replaced when they die, and gone when it is gone."""

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress

import pytest

from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.far_model import FarModel
from nemo_gym_lite.serving.launcher import Launcher
from responses_api_models.local_vllm_model.app import LocalVLLMModel
from responses_api_models.local_vllm_model.tests.composing import BLOCK, FILE, composed_of, engine_pids
from tests.collect.workspace import until_gone


def launcher_of(folder, shown, *words):
    composed = composed_of(folder, *words)
    return composed.servers[0], Launcher(composed.servers, composed.tree, shown.append)


def text_of(response):
    return response["output"][-1]["content"][0]["text"]


async def test_replicas_share_the_gpus_tell_how_their_start_goes_and_are_gone_at_the_end(folder):
    shown = []
    instance, launcher = launcher_of(
        folder, shown, "num_replicas=2", "engine_args.tensor_parallel_size=2", "engine_args.enforce_eager=false"
    )
    deadlines = Deadlines()
    async with launcher, open_http(deadlines) as http:
        near = LocalVLLMModel.near_client(instance, http, deadlines)
        far = FarModel(instance.url, http, deadlines)
        for model in (near, far):
            said = {text_of(await model.respond({"input": "hi"}, f"session {n}")) for n in range(6)}
            assert said == {"4,5", "6,7"}
        async with http.get(f"{instance.url}/get_inner_vllm_config") as reply:
            told = await reply.json()

    ports = instance.config["engine_ports"]
    assert told["base_url"] == [f"http://127.0.0.1:{port}/v1" for port in ports]
    assert told["model"] == "tiny"
    for phase in ("loading the model", "compiling", "ready at"):
        assert sum(phase in line for line in shown) == 2, shown
    for number, port in enumerate(ports, 1):
        log = (folder / f"results/vllm_logs/policy_model_replica_{number}.log").read_text()
        assert "vllm serve tiny" in log
        assert "Starting to load model" in log
        words = json.loads((folder / f"arguments_{port}").read_text())
        assert "--no-enforce-eager" in words
        assert words[words.index("--tensor-parallel-size") + 1] == "2"
    await until_gone([pid for life in engine_pids(folder) for pid in life])


async def test_a_replica_that_is_killed_is_gone_around_and_used_again(folder):
    shown = []
    instance, launcher = launcher_of(folder, shown, "num_replicas=2", "backoff_s=0.2", "routing.rest_s=0.5")
    deadlines = Deadlines()
    async with launcher, open_http(deadlines) as http:
        near = LocalVLLMModel.near_client(instance, http, deadlines)
        first, *_ = engine_pids(folder)
        os.kill(first[0], signal.SIGKILL)
        for number in range(12):  # none fails
            assert text_of(await near.respond({"input": "hi"}, f"session {number}"))
        await until_gone(first)  # what it had started goes with it
        async with asyncio.timeout(20):
            while sum("ready at" in line for line in shown) < 3:
                await asyncio.sleep(0.05)
            (folder / "requests").write_text("")
            number = 0
            while len(set((folder / "requests").read_text().split())) < 2:
                number += 1
                await near.respond({"input": "hi"}, f"later {number}")
                await asyncio.sleep(0.05)
    assert len(engine_pids(folder)) == 3
    assert any("was killed by SIGKILL" in line for line in shown)
    assert any("restart 1 of 5" in line for line in shown)


async def test_an_engine_out_of_memory_is_told_with_its_last_lines_and_what_to_lower(folder, monkeypatch):
    monkeypatch.setenv("STAND_IN_DIES", "out of memory")
    _, launcher = launcher_of(folder, [])

    with pytest.raises(ServerStartError) as caught:
        async with launcher:
            pass

    assert "replica 1 of policy_model exited with code 1 while it was loading the model" in caught.value.message
    assert "Tried to allocate 2.00 GiB" in caught.value.message
    assert "See root cause above" in caught.value.message
    assert "policy_model_replica_1.log" in caught.value.message
    for setting in ("max_model_len", "max_num_seqs", "gpu_memory_utilization"):
        assert setting in caught.value.hint


async def test_a_start_that_is_broken_off_leaves_no_engine(folder, monkeypatch):
    monkeypatch.setenv("STAND_IN_DIES", "never")
    monkeypatch.setenv("NEMO_GYM_EXTRA_ROOTS", str(folder / "elsewhere"))
    shown = []
    _, launcher = launcher_of(folder, shown)

    async def start():
        async with launcher:
            pass

    starting = asyncio.create_task(start())
    async with asyncio.timeout(20):
        while not any("loading the model" in line for line in shown):
            await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    await until_gone([pid for life in engine_pids(folder) for pid in life])
    assert (folder / "results/vllm_logs/policy_model_replica_1.log").exists()


async def test_what_cannot_work_is_told_before_an_engine_starts(folder):
    _, launcher = launcher_of(folder, [], "engine_args.swap_space=4")

    with pytest.raises(ServerStartError) as caught:
        async with launcher:
            pass

    assert "does not know `swap_space`" in caught.value.message
    assert "take them out of engine_args; newer versions of vLLM compute again" in caught.value.hint
    assert not (folder / "pids").exists()


async def started_ng_run(folder, stderr):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        head = f"+head_server.port={taken.getsockname()[1]}"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nemo_gym_lite.cli.run", f"+config_paths=[{FILE}]", "+policy_model_name=tiny"),
        *(f"++{BLOCK}.executable={folder}/vllm", f"++{BLOCK}.num_replicas=2", head),
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )


async def test_nothing_is_left_when_ng_run_is_killed(folder):
    child = await started_ng_run(folder, asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(60):
            await child.stdout.readuntil(b"Ctrl-C stops them")
    finally:
        child.kill()
        await child.communicate()

    pids = [pid for life in engine_pids(folder) for pid in life]
    assert len(pids) == 4
    await until_gone(pids)


@pytest.mark.parametrize(
    ("dies", "when"), [("never", b"loading the model"), ("never asked", b"reading what arguments")]
)
async def test_ng_run_ends_at_once_when_it_is_told_to_while_engines_load(folder, monkeypatch, dies, when):
    monkeypatch.setenv("STAND_IN_DIES", dies)
    child = await started_ng_run(folder, asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            await child.stderr.readuntil(when)
            child.send_signal(signal.SIGTERM)
            _, said = await child.communicate()
    finally:
        with suppress(ProcessLookupError):
            child.kill()

    assert child.returncode == 0
    assert said.endswith(b"all servers stopped\n")
    assert b"Traceback" not in said
    if (folder / "pids").exists():
        await until_gone([pid for life in engine_pids(folder) for pid in life])
