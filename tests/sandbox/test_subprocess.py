"""What code in a sandbox of processes can do, and what it cannot: loop, flood, outlive, see our secrets."""

import asyncio
import os
import time

import psutil
import pytest

from nemo_gym_lite.errors import SandboxConfigError, SandboxCreateError
from nemo_gym_lite.sandbox import AsyncSandbox, SandboxSpec, SandboxStatus

PYTHON = "exec python3 -I -c"


@pytest.fixture
async def sandbox():
    """Starts sandboxes that are stopped at the end of the test."""
    started = []

    async def start(settings=None, **fields):
        started.append(AsyncSandbox({"subprocess": settings or {}}, SandboxSpec(**fields)))
        return await started[-1].start()

    yield start
    for each in started:
        await each.stop()


def alive(mark):
    """Processes whose command line has `mark`."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or ())
        if mark in words and process.pid != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(words)
    return found


async def test_a_command_runs_in_a_folder_of_its_own_with_the_files_that_were_asked_for(sandbox):
    box = await sandbox(files={"a/hello.txt": "hello"}, env={"WHO": "me"})
    ended = await box.exec("cat a/hello.txt; echo $WHO; exit 3")

    assert (ended.stdout, ended.stderr, ended.return_code, ended.error_type) == ("hellome\n", "", 3, None)
    assert (await box.exec("pwd", cwd="a")).stdout.strip().endswith("/a")
    assert await box.status() == SandboxStatus.RUNNING


async def test_files_go_in_and_out_and_are_gone_after_the_stop(sandbox, tmp_path):
    box = await sandbox()
    (tmp_path / "in.bin").write_bytes(b"\0\xff")
    await box.upload(tmp_path / "in.bin", "deep/er/in.bin")
    await box.exec("cp deep/er/in.bin out.bin")
    await box.download("out.bin", tmp_path / "back.bin")
    folder = (await box.exec("pwd")).stdout.strip()
    await box.stop()

    assert (tmp_path / "back.bin").read_bytes() == b"\0\xff"
    assert not os.path.exists(folder)  # noqa: PTH110
    assert await box.status() == SandboxStatus.STOPPED


async def test_commands_see_none_of_our_environment(sandbox, monkeypatch):
    monkeypatch.setenv("policy_api_key", "sk-secret")
    shown = await (await sandbox()).exec("env; cat /dev/stdin")

    assert "secret" not in shown.stdout
    assert sorted(line.partition("=")[0] for line in shown.stdout.splitlines()) == [
        "HOME", "LANG", "PATH", "PWD", "TMPDIR",
    ]  # fmt: skip


async def test_a_command_that_takes_too_long_is_killed_with_what_it_started(sandbox):
    mark = f"7{time.monotonic_ns()}"
    box = await sandbox()
    began = asyncio.get_running_loop().time()
    ended = await box.exec(f"sleep {mark} & sleep {mark}", timeout_s=0.3)

    assert ended.error_type == "timeout"
    assert asyncio.get_running_loop().time() - began < 10
    assert alive(mark) == []


async def test_what_a_command_leaves_in_the_background_ends_with_it(sandbox):
    mark = f"7{time.monotonic_ns()}"
    ended = await (await sandbox()).exec(f"sleep {mark} & echo done")

    assert (ended.stdout, ended.error_type) == ("done\n", None)
    assert alive(mark) == []


async def test_a_cancelled_command_ends(sandbox):
    mark = f"7{time.monotonic_ns()}"
    box = await sandbox()
    running = asyncio.create_task(box.exec(f"sleep {mark}"))
    while not alive(mark):
        await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    for _ in range(100):
        if not alive(mark):
            break
        await asyncio.sleep(0.02)
    assert alive(mark) == []


async def test_a_flood_of_output_is_cut_off_and_the_command_killed(sandbox):
    ended = await (await sandbox(provider_options={"output_bytes": 1000})).exec("yes")

    assert ended.error_type == "output_limit"
    assert len(ended.stdout) == 1000


@pytest.mark.parametrize(
    ("limits", "code", "said"),
    [
        ({"resources": {"memory_mib": 200}}, "bytes(400 * 2**20)", "MemoryError"),
        ({"provider_options": {"file_mib": 1}}, "open('x', 'wb').write(bytes(2 * 2**20))", "File too large"),
    ],
)
async def test_a_limit_holds(sandbox, limits, code, said):
    ended = await (await sandbox(**limits)).exec(f'{PYTHON} "{code}"')

    assert ended.return_code != 0
    assert said in ended.stderr


async def test_a_loop_ends_by_its_cpu_seconds(sandbox):
    ended = await (await sandbox(provider_options={"cpu_s": 1})).exec(f'{PYTHON} "while True: pass"', timeout_s=60)

    assert ended.return_code < 0
    assert ended.error_type is None


@pytest.mark.skipif(os.geteuid() == 0, reason="the kernel does not hold root to a number of processes")
async def test_a_fork_bomb_ends_at_the_number_of_processes(sandbox):
    bomb = "import os\nwhile True: os.fork()"
    ended = await (await sandbox(provider_options={"processes": 20})).exec(f'{PYTHON} "{bomb}"', timeout_s=5)

    assert "Error" in ended.stderr


async def test_paths_outside_of_the_folder_are_refused(sandbox, tmp_path):
    box = await sandbox()
    await box.exec("ln -s /etc/passwd link")
    for path in ("/etc/passwd", "../x", "link"):
        with pytest.raises(SandboxConfigError, match="outside of its folder"):
            await box.download(path, tmp_path / "got")
    with pytest.raises(SandboxConfigError, match="cannot run as user"):
        await box.exec("id", user="root")


async def test_without_network_nothing_is_reached_and_nothing_stays(sandbox):
    mark = f"7{time.monotonic_ns()}"
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
    async with server:
        reached = await (await sandbox()).exec(f'{PYTHON} "{code}"')
        try:
            box = await sandbox({"network": False})
        except SandboxCreateError as error:
            pytest.skip(str(error))
        refused = await box.exec(f'setsid sleep {mark} & {PYTHON} "{code}"')

    assert reached.return_code == 0, reached.stderr
    assert refused.return_code != 0
    assert alive(mark) == []


async def test_a_machine_that_cannot_take_the_network_away_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SandboxCreateError, match=r"network=false is not possible here: .*\n\nhint: .* container"):
        await AsyncSandbox({"subprocess": {"network": False}}, SandboxSpec()).start()


async def test_another_process_can_go_on_with_a_sandbox(sandbox):
    box = await sandbox(files={"note": "kept"})
    descriptor = await box.serialize()
    again = await AsyncSandbox.connect(descriptor, provider={"subprocess": {}})

    assert (await again.exec("cat note")).stdout == "kept"


async def test_a_sandbox_is_started_once_and_says_so(sandbox):
    fresh = AsyncSandbox({"subprocess": {}})
    with pytest.raises(SandboxConfigError, match="needs a SandboxSpec"):
        await fresh.start()
    with pytest.raises(RuntimeError, match="not been started"):
        await fresh.exec("true")
    box = await sandbox()
    with pytest.raises(RuntimeError, match="already started"):
        await box.start()
    with pytest.raises(SandboxConfigError, match="port 80 is not among"):
        await box.endpoint(80)
