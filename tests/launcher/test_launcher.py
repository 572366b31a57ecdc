"""What a command may rely on when it runs servers inside an `async with Launcher(...)` block."""

import asyncio
import os
import signal
import stat
import tempfile
from pathlib import Path

import psutil
import pytest
import uvloop

from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.launcher import Launcher

from .conftest import alive, get, pids, until


async def test_inside_the_block_every_server_answers_and_after_it_none_is_left(project, launch):
    project.echoes("one", "two")

    async with launch() as launcher:
        names = [(await get(record["url"]))["name"] for record in launcher.records()]
        assert [record["status"] for record in launcher.records()] == ["running", "running"]

    assert names == ["one", "two"]
    assert not any(map(alive, pids(launcher)))


async def test_a_killed_server_comes_back_and_the_user_is_told(project, launch):
    project.echoes("one")

    async with launch() as launcher:
        (first,) = pids(launcher)
        os.kill(first, signal.SIGKILL)
        await until(lambda: "server 'one' is back" in launch.lines)

        (record,) = launcher.records()
        assert (await get(record["url"]))["name"] == "one"
        assert record["pid"] != first
        assert record["restarts"] == 1
    assert "server 'one' was killed by SIGKILL; restart 1 of 5 in 0.05 s" in launch.lines


CRASHING = """
    import os, threading
    threading.Timer(1.5, os._exit, [7]).start()
"""


async def test_a_server_that_keeps_crashing_is_given_up_and_the_block_is_cancelled(project, launch):
    project.echoes("one", "two")
    project.server("bad", CRASHING)
    project.config(
        """
        good: {resources_servers: {echo: {entrypoint: app.py}}}
        bad: {resources_servers: {bad: {entrypoint: app.py}}}
        """
    )

    with pytest.raises(ServerStartError, match=r"server 'bad' exited with code 7.*; it crashed 2 times in a row"):
        async with launch(restarts=1):
            await asyncio.sleep(60)

    assert any("restart 1 of 1" in line for line in launch.lines)
    assert not any(map(alive, pids(launch.launchers[0])))


async def test_crashes_of_a_server_that_was_up_for_long_are_forgiven(project, launch):
    project.echoes("one")

    async with launch(restarts=1, steady_s=0.0) as launcher:
        for count in (1, 2, 3):
            os.kill(pids(launcher)[0], signal.SIGKILL)
            await until(lambda count=count: launch.lines.count("server 'one' is back") == count)


async def test_an_exception_of_the_block_comes_out_unchanged(project, launch):
    project.echoes("one")

    with pytest.raises(ZeroDivisionError) as caught:
        async with launch():
            raise ZeroDivisionError("of the block")

    assert str(caught.value) == "of the block"
    assert not any(map(alive, pids(launch.launchers[0])))


async def test_a_cancelled_start_leaves_no_process(project, launch):
    project.echoes("one", "two")
    launcher = launch()
    entering = asyncio.create_task(launcher.__aenter__())
    await until(lambda: all(pids(launcher)))

    entering.cancel()

    with pytest.raises(asyncio.CancelledError):
        await entering
    assert not any(map(alive, pids(launcher)))


STUBBORN = """
    import signal, threading, time

    def hold():
        while True:
            time.sleep(1)

    threading.Thread(target=hold).start()  # keeps the process alive after the web server ended
"""


async def test_a_server_that_ignores_sigterm_is_killed(project, launch):
    project.echoes("one")
    project.server(code=STUBBORN)

    async with launch(stop_s=0.3) as launcher:
        pass

    assert not any(map(alive, pids(launcher)))


async def test_what_a_server_started_goes_with_it(project, launch):
    project.echoes("one")
    project.server(code="\nimport subprocess\nsleeper = subprocess.Popen(['sleep', '600'])\n")

    async with launch() as launcher:
        (server,) = pids(launcher)
        (first,) = psutil.Process(server).children()
        os.kill(server, signal.SIGKILL)
        await until(lambda: "server 'one' is back" in launch.lines)
        assert not alive(first.pid)
        (second,) = psutil.Process(pids(launcher)[0]).children()

    assert not alive(second.pid)


async def test_secrets_reach_servers_through_a_private_file_that_goes_with_the_run(project, launch, tmp_path):
    project.echoes("one", api_key="sk-very-secret")
    code = """
        import os, json
        from pathlib import Path

        class Telling(EchoServer):
            def describe(self):
                return {"key": self.config.api_key, "file": os.environ["NEMO_GYM_LITE_CONFIG_FILE"],
                        "secret": os.environ["NEMO_GYM_LITE_SECRET_FILE"], "cwd": os.getcwd()}
    """
    folder = project.server(code=code)

    async with launch() as launcher:
        (record,) = launcher.records()
        told = await get(record["url"])
        modes = [stat.S_IMODE(Path(told[name]).stat().st_mode) for name in ("file", "secret")]
        folder_mode = stat.S_IMODE(Path(told["file"]).parent.stat().st_mode)
        process = psutil.Process(record["pid"])
        assert "sk-very-secret" not in " ".join(process.cmdline())
        assert not [value for value in process.environ().values() if "sk-very-secret" in value]

    assert told["key"] == "sk-very-secret"
    assert modes == [0o600, 0o600]
    assert folder_mode == 0o700
    assert told["cwd"] == str(folder)
    assert not list((tmp_path / "private").iterdir())


async def test_each_line_of_output_carries_the_name_of_its_server(project, launch):
    project.echoes("one", "two")
    project.server(code="\nprint('hello')\nimport os\nos.write(2, b'long ' * 40_000)\n")

    async with launch():
        pass

    assert {"(one) hello", "(two) hello"} <= set(launch.lines)
    assert max(map(len, launch.lines)) < 200_000
    assert sum(line.count("long ") for line in launch.lines) > 79_990


def test_it_runs_on_uvloop_too(project, launch):
    project.echoes("one")

    async def crash_once():
        async with launch() as launcher:
            os.kill(pids(launcher)[0], signal.SIGKILL)
            await until(lambda: "server 'one' is back" in launch.lines)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(crash_once())

    assert not any(map(alive, pids(launch.launchers[0])))


async def test_a_dozen_launchers_may_follow_one_another_without_leaking_files(project, launch):
    project.config("")
    open_files = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(12):
        async with Launcher([], {}, launch.lines.append):
            pass

    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


async def test_without_a_server_no_file_with_secrets_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with Launcher([], {"api_key": "secret"}):
        assert not list(tmp_path.iterdir())
