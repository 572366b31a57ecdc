"""How containers are driven: a runtime that runs their commands as processes stands in for docker and its kin."""

import os
from pathlib import Path

import pytest

from nemo_gym_lite.errors import SandboxConfigError, SandboxCreateError
from nemo_gym_lite.sandbox import AsyncSandbox, SandboxResources, SandboxSpec, SandboxStatus

RUNTIME = """#!/bin/sh
echo "$@" >> "$LOG"
case "$1 $2" in
"rm "*|"instance stop") rm -rf "$STATE"; exit 0;;
"instance start"|"run "*)
  case "$*" in *no-such-image*) echo "pull access denied" >&2; exit 125;; esac
  mkdir "$STATE";;
"port "*) echo 127.0.0.1:49153;;
"exec "*)
  [ -d "$STATE" ] || { echo "no such container" >&2; exit 125; }
  cd "$STATE"
  while [ "$1" != /bin/sh ]; do shift; done
  exec "$@";;
*) exit 2;;
esac
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    """The words that the runtimes were called with."""
    for name in ("docker", "apptainer"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(RUNTIME)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("STATE", str(tmp_path / "state"))
    return tmp_path / "log"


@pytest.mark.parametrize("runtime", ["docker", "apptainer"])
async def test_a_container_is_started_used_and_removed(log, runtime, tmp_path):
    spec = SandboxSpec(image="python:3", files={"a/x.txt": "hello"}, env={"KEY": "sk-secret"}, workdir="/w")
    async with AsyncSandbox({runtime: {"network": "none"}}, spec) as box:
        await box.start()
        ended = await box.exec("cat a/x.txt; echo $KEY $APPTAINERENV_KEY; exit 3", timeout_s=10)
        await box.download("a/x.txt", tmp_path / "back.txt")
        running = await box.status()

    assert (ended.stdout, ended.return_code, ended.error_type) == ("hellosk-secret\n", 3, None)
    assert (tmp_path / "back.txt").read_text() == "hello"
    assert running == SandboxStatus.RUNNING
    assert not (tmp_path / "state").exists()
    assert "--network none" in log.read_text()
    assert "secret" not in log.read_text()


async def test_what_a_sandbox_may_use_is_told_to_the_runtime(log):
    spec = SandboxSpec(
        image="docker://python:3",
        ttl_s=90,
        resources=SandboxResources(cpu=1.5, memory_mib=256, gpu=1),
        provider_options={"processes": 32, "cpu_s": 5, "file_mib": 2, "run_args": ["--read-only"]},
        ports=[8080],
    )
    async with AsyncSandbox({"docker": {}}, spec) as box:
        await box.start()
        endpoint = await box.endpoint(8080)

    said = log.read_text().splitlines()[0]
    for words in (
        "--cpus 1.5", "--memory 256m", "--memory-swap 256m", "--gpus 1", "--pids-limit 32", "--ulimit cpu=5",
        "--ulimit fsize=2097152", "--publish 127.0.0.1::8080", "--read-only", "python:3 -c sleep 90",
    ):  # fmt: skip
        assert f" {words}" in said
    assert endpoint.endpoint == "http://127.0.0.1:49153"


async def test_a_container_that_is_gone_is_no_failure_of_the_command(log, tmp_path):
    async with AsyncSandbox({"docker": {}}, SandboxSpec(image="python:3")) as box:
        await box.start()
        (tmp_path / "state").rmdir()
        ended = await box.exec("true")

        assert (ended.return_code, ended.error_type) == (125, "sandbox")
        assert await box.status() == SandboxStatus.STOPPED
        with pytest.raises(OSError, match="no such container"):
            await box.upload(Path(__file__), "x")


async def test_an_image_that_cannot_be_had_is_told_in_the_runtimes_words(log):
    with pytest.raises(SandboxCreateError, match="docker does not start no-such-image: pull access denied"):
        await AsyncSandbox({"docker": {}}, SandboxSpec(image="no-such-image")).start()
    with pytest.raises(SandboxConfigError, match="names no image"):
        await AsyncSandbox({"docker": {}}, SandboxSpec()).start()


def test_a_machine_without_a_runtime_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxCreateError) as error:
        AsyncSandbox({"podman": {}})

    assert "there is no program `podman` on this machine" in str(error.value)
    assert "install a container runtime, or choose `subprocess`" in str(error.value)


async def test_a_client_whose_daemon_is_not_running_says_so(tmp_path, monkeypatch):
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 125\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    with pytest.raises(SandboxCreateError, match="Cannot connect to the Docker daemon"):
        await AsyncSandbox({"docker": {}}, SandboxSpec(image="python:3")).start()
