"""A project folder with tiny servers, and `ng_run` as a user runs it: a process with a terminal's signals."""

import asyncio
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil
import pytest
from pydantic import BaseModel

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.launcher import Launcher, LaunchPolicy

PATIENCE_S = 30.0

SERVER = """
from nemo_gym_lite.base_resources_server import BaseResourcesServerConfig, SimpleResourcesServer

class EchoConfig(BaseResourcesServerConfig):
    api_key: str = ""

class EchoServer(SimpleResourcesServer):
    config: EchoConfig

    async def verify(self, body: dict) -> dict:
        return {"reward": 1.0}
"""


class NoOptions(BaseModel):
    pass


class Project:
    """A user's working directory."""

    def __init__(self, folder: Path):
        self.folder = folder

    def server(self, implementation="echo", code="", base=SERVER):
        folder = self.folder / "resources_servers" / implementation
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "app.py").write_text(base + textwrap.dedent(code))
        return folder

    def config(self, text):
        (self.folder / "servers.yaml").write_text(textwrap.dedent(text))

    def echoes(self, *names, **settings):
        """Configure one echo server per name."""
        extra = "".join(f", {key}: {value}" for key, value in settings.items())
        lines = [f"{name}: {{resources_servers: {{echo: {{entrypoint: app.py{extra}}}}}}}\n" for name in names]
        self.server()
        self.config("".join(lines))

    def compose(self, *overrides):
        return compose(["+config_paths=[servers.yaml]", *overrides], NoOptions)


class NgRun:
    """A running `ng_run`."""

    def __init__(self, project, *overrides, head_port):
        self.head_port = head_port
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nemo_gym_lite.cli.run", "+config_paths=[servers.yaml]",
             f"+head_server.port={head_port}", *overrides],
            cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.texts = {"out": "", "err": ""}
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", self.process.stdout), ("err", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()
        self.seen = set()

    def _read(self, name, stream):
        for line in stream:
            self.texts[name] += line
        stream.close()

    def until(self, words, where="out"):
        """Wait until `words` were printed; returns all that was."""
        wait_until(lambda: words in self.texts[where] or self.process.poll() is not None)
        assert words in self.texts[where], self.texts
        self.servers()
        return self.texts[where]

    def servers(self):
        """The processes below ng_run, by pid."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        self.seen |= set(found)
        return found

    def end(self, signum=signal.SIGINT):
        self.servers()
        self.process.send_signal(signum)
        return self.wait()

    def wait(self):
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return code

    def left_over(self):
        """Processes of the run that live on after `patience`."""
        _, alive = psutil.wait_procs(self.seen, timeout=10)
        return alive

    def clean_up(self):
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
        for process in self.left_over():
            process.kill()


def wait_until(condition, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setenv("TMPDIR", str(private))
    monkeypatch.setattr("tempfile.tempdir", None)  # forget the folder that it had chosen
    return Project(tmp_path)


@pytest.fixture
def ng_run(project):
    started = []

    def start(*overrides, head_port=None):
        started.append(NgRun(project, *overrides, head_port=head_port or unused_port()))
        return started[-1]

    yield start
    for run in started:
        run.clean_up()


@pytest.fixture
def listener():
    """A port on which somebody else listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def command_lines():
    """The command lines of all processes of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            lines.append(path.read_bytes())
    return lines


@pytest.fixture
def launch(project):
    """Makes a launcher of the project's servers; what it shows is collected in `lines`."""

    def make(**policy):
        composed = project.compose()
        launcher = Launcher(composed.servers, composed.tree, make.lines.append, LaunchPolicy(backoff_s=0.05, **policy))
        make.launchers.append(launcher)
        return launcher

    make.lines, make.launchers = [], []
    return make


async def get(url, path="/"):
    async with aiohttp.ClientSession() as http, http.get(url + path) as response:
        return await response.json()


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def pids(launcher):
    return [record["pid"] for record in launcher.records()]


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def failure(launch, kind=ServerStartError, **policy):
    with pytest.raises(kind) as caught:
        async with launch(**policy):
            pass
    assert not any(alive(pid) for pid in pids(launch.launchers[0]) if pid)
    return caught.value
