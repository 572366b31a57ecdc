"""What a rollout may rely on when checks run in processes of their own, asked in this process or over HTTP."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from nemo_gym_lite.base_resources_server import BaseResourcesServerConfig
from nemo_gym_lite.config.roots import EXTRA_ROOTS_VARIABLE
from nemo_gym_lite.config.servers import load_server_class, server_instances
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ConfigError, FailedCallError
from nemo_gym_lite.serving.calls import json_bytes

from .conftest import Weather, make, placed

HAZARDS = Path(__file__).parents[1] / "hazards"
BLOCK = {"host": "127.0.0.1", "port": 1, "entrypoint": "app.py"}


@pytest.fixture(autouse=True)
def extra_root(monkeypatch):
    monkeypatch.setenv(EXTRA_ROOTS_VARIABLE, str(HAZARDS))


def environment(**settings):
    settings = {"verify_pool": {"processes": 2, "memory_mb": 512, "timeout_s": 0.5}} | settings
    tree = {"hazards": {"resources_servers": {"hazards": {**BLOCK, **settings}}}}
    (instance,) = server_instances(tree)
    return load_server_class(instance).from_tree(tree, "hazards")


@pytest.fixture
def check(row, response):
    """Checks one row, in a session of its own."""

    async def verify(client, hazard="", **fields):
        return await client.open("s").verify({**row, "response": response, "hazard": hazard, **fields})

    return verify


ENDS_BADLY = [
    ("spins", "timeout", "verify of hazards took longer than 0.5 s"),
    ("crashes", "crash", "verify of hazards crashed with SIGSEGV"),
    ("exits", "crash", "its process exited with code 3"),
    ("allocates", "out_of_memory", "needed more than 512 MB of memory"),
]


async def test_a_check_that_ends_badly_fails_by_its_cause_and_the_next_is_checked(side, check):
    async with placed(environment(), side) as client:
        for hazard, cause, message in ENDS_BADLY:
            with pytest.raises(FailedCallError, match=message) as failure:
                await check(client, hazard)
            assert (failure.value.failure_class, failure.value.cause) == ("verify_failed", cause)
            assert (await check(client))["reward"] == 1.0


async def test_what_a_check_raises_is_told_as_without_a_pool(side, check):
    for pool in (None, {"processes": 1}):
        async with placed(environment(verify_pool=pool), side) as client:
            with pytest.raises(FailedCallError, match="a bug of the check") as bug:
                await check(client, "raises")
            with pytest.raises(FailedCallError, match="no judge answered") as judged:
                await check(client, "judge")
            with pytest.raises(FailedCallError, match="valid number") as invalid:
                await check(client, work_s="long")

        assert [error.value.failure_class for error in (bug, judged, invalid)] == [
            "verify_failed", "judge_failed", "verify_failed",
        ]  # fmt: skip
        assert [error.value.cause for error in (bug, judged, invalid)] == ["", "", ""]


async def test_the_environment_is_loaded_once_for_all_processes(check):
    async with placed(environment(), "near") as client:
        verdicts = [await check(client) for _ in range(4)]
        with pytest.raises(FailedCallError):
            await check(client, "crashes")
        verdicts += await asyncio.gather(*(check(client, work_s=0.1) for _ in range(4)))

    assert len({verdict["loaded_by"] for verdict in verdicts}) == 1
    assert len({verdict["pid"] for verdict in verdicts}) >= 3


async def test_a_process_that_checks_left_large_ends_before_it_fails_a_row(check):
    async with placed(environment(verify_pool={"processes": 1, "memory_mb": 512}), "near") as client:
        verdicts = [await check(client, "leaks") for _ in range(12)]

    assert len({verdict["pid"] for verdict in verdicts}) >= 2


async def test_a_check_that_waits_in_line_loses_none_of_its_time(side, check):
    pool = {"processes": 1, "memory_mb": 512}
    async with placed(environment(verify_pool=pool), side, Deadlines(verify_s=2.0)) as client:
        verdicts = await asyncio.gather(*(check(client, work_s=0.6) for _ in range(5)))

    assert [verdict["reward"] for verdict in verdicts] == [1.0] * 5


async def test_many_rows_that_spin_crash_and_take_all_memory_leave_a_whole_pool(check):
    hazards = {7: "spins", 100: "spins", 107: "spins", 120: "crashes", 200: "crashes", 250: "allocates"}
    server = environment()
    async with placed(server, "near") as client:
        ended = await asyncio.gather(*(check(client, hazards.get(n, "")) for n in range(300)), return_exceptions=True)
        pool = server._check_pool
        await until(lambda: len(pool.pids) == 2)
        pids = pool.pids
        (template,) = {psutil.Process(pid).ppid() for pid in pids}
        await until(lambda: {child.pid for child in psutil.Process(template).children()} == set(pids))

    causes = {n: verdict.cause for n, verdict in enumerate(ended) if isinstance(verdict, FailedCallError)}
    expected = {"spins": "timeout", "crashes": "crash", "allocates": "out_of_memory"}
    assert causes == {n: expected[hazard] for n, hazard in hazards.items()}
    assert not any(psutil.pid_exists(pid) for pid in [template, *pids])


async def test_a_check_that_takes_much_longer_than_others_makes_room_for_them(check):
    async with placed(environment(verify_pool={"processes": 1, "timeout_s": 4.0}), "near") as client:
        for _ in range(10):
            await check(client)
        slow = asyncio.create_task(check(client, work_s=1.5))
        await asyncio.sleep(0.05)
        others = [await check(client) for _ in range(10)]
        assert not slow.done()
        verdict = await slow

    assert verdict["reward"] == 1.0
    assert verdict["pid"] not in {other["pid"] for other in others}


async def test_rows_that_spin_from_the_start_make_room_as_soon_as_others_show_what_is_usual(check):
    async with placed(environment(verify_pool={"timeout_s": 60}), "near") as client:
        spinning = [asyncio.create_task(check(client, "spins"))]
        await check(client)
        spinning.append(asyncio.create_task(check(client, "spins")))
        async with asyncio.timeout(20):
            others = [await check(client) for _ in range(10)]
        for task in spinning:
            task.cancel()
        await asyncio.gather(*spinning, return_exceptions=True)

    assert all(other["reward"] == 1.0 for other in others)


async def test_a_check_that_nobody_waits_for_is_ended(check):
    async with placed(environment(verify_pool={"processes": 1, "timeout_s": 60}), "near") as client:
        before = await check(client)
        abandoned = asyncio.create_task(check(client, "spins"))
        queued = asyncio.create_task(check(client))
        await asyncio.sleep(0.1)
        abandoned.cancel()
        after = await queued

    assert after["pid"] != before["pid"]
    assert not psutil.pid_exists(before["pid"])


async def test_what_a_check_started_ends_with_it(check):
    async with placed(environment(), "near") as client:
        before = await check(client)
        with pytest.raises(FailedCallError, match="longer"):
            await check(client, "starts another")
        await until(lambda: not sleepers(before["loaded_by"]))


async def test_a_template_that_is_killed_is_started_again(check):
    async with placed(environment(), "near") as client:
        before = await check(client)
        os.kill(before["loaded_by"], signal.SIGKILL)
        await until(lambda: not alive(before["pid"]))
        after = await check(client)

    assert after["loaded_by"] != before["loaded_by"]


async def test_an_environment_that_does_not_load_fails_its_rows_with_the_reason(check, monkeypatch):
    server = environment()
    tree = server.server_client.global_config_dict
    tree["hazards"]["resources_servers"]["hazards"]["broken"] = "no data here"
    async with placed(server, "near") as client:
        for _ in range(2):
            with pytest.raises(FailedCallError, match="cannot check with hazards: RuntimeError: no data here") as error:
                await check(client)
            assert (error.value.failure_class, error.value.cause) == ("verify_failed", "")


async def test_a_caller_of_nemo_gym_gets_the_whole_echo(row, response):
    server = environment()
    async with placed(server, "near") as client:
        body = json_bytes({**row, "response": response})
        status, reply = await client.call("/verify", body, {}, None)

    assert status == 200
    assert b'"responses_create_params"' in reply


def test_a_check_that_needs_the_session_cannot_be_in_a_pool():
    config = BaseResourcesServerConfig(**BLOCK, name="weather", verify_pool={})
    with pytest.raises(ConfigError, match=r"weather\.verify_pool: its `verify` takes the request"):
        make(Weather).model_copy(update={"config": config}).build_app()


ASKING = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests.serving.test_check_pool import environment, placed
from tests.serving.conftest import response_with, message

async def main():
    row = {{"responses_create_params": {{"input": "x"}}, "response": response_with([message("y")])}}
    async with placed(environment(verify_pool={{"timeout_s": 60}}), "near") as client:
        verdicts = await asyncio.gather(*(client.open("s").verify({{**row, "work_s": 0.2}}) for _ in range(2)))
        print(verdicts[0]["loaded_by"], *(verdict["pid"] for verdict in verdicts), flush=True)
        await client.open("s").verify({{**row, "hazard": "spins"}})

asyncio.run(main())
"""


async def test_killing_the_one_who_asks_leaves_no_process():
    root = str(HAZARDS.parents[1])
    asking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ASKING.format(root=root)), stdout=asyncio.subprocess.PIPE
    )
    pids = [int(word) for word in (await asking.stdout.readline()).split()]
    await until(lambda: any(psutil.Process(pid).cpu_percent(0.05) > 20 for pid in pids[1:]))
    asking.kill()
    await asking.wait()

    assert len(set(pids)) == 3
    await until(lambda: not any(alive(pid) for pid in pids))


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def sleepers(template):
    """Processes that checkers of this template started."""
    session = os.getsid(template)
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "sleep":
            try:
                found += [process] if os.getsid(process.pid) == session else []
            except ProcessLookupError:
                continue
    return found


async def until(is_true, patience_s=10.0):
    gives_up_at = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < gives_up_at
        await asyncio.sleep(0.02)
