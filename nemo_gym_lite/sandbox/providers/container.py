"""Sandboxes as containers, one each, driven by the command line of docker, podman or apptainer."""

import math
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from nemo_gym_lite.errors import SandboxConfigError, SandboxCreateError
from nemo_gym_lite.sandbox.providers.base import (
    LocalProvider,
    SandboxEndpoint,
    SandboxExecResult,
    SandboxHandle,
    SandboxResources,
    SandboxSpec,
    SandboxStatus,
)
from nemo_gym_lite.sandbox.providers.commands import OUTPUT_BYTES, SANDBOX_FAILED, run_command

RUNTIMES = ("docker", "podman", "apptainer")

_START_S = 600.0
"""Seconds that a start may take, the image's download included, where the spec does not say."""

_CONTROL_S = 60.0
"""Seconds that asking, copying and removing may take."""

_FOREVER = 2**31 - 1


class ContainerProvider(LocalProvider):
    """Makes one container for each sandbox.

    Args:
        runtime: One of `RUNTIMES`.
        network: The container's network, as the runtime names it; `none` for none.
        run_args: Further words for the runtime's command that starts a container.

    Raises:
        SandboxCreateError: The runtime's program is not on this machine.
    """

    def __init__(self, runtime: str, network: str | None = None, run_args: Sequence[str] = ()) -> None:
        program = shutil.which(runtime)
        if program is None:
            found = [each for each in RUNTIMES if shutil.which(each)]
            raise SandboxCreateError(
                f"sandbox provider {runtime}: there is no program `{runtime}` on this machine",
                f"choose {' or '.join(found)}" if found else "install a container runtime, or choose `subprocess`",
            )
        self.name = runtime
        self._program = program
        self._network = network
        self._run_args = list(run_args)

    async def create(self, spec: SandboxSpec) -> SandboxHandle:
        """Start a container that waits for commands.

        Raises:
            SandboxConfigError: The spec names no image.
            SandboxCreateError: The runtime does not start it; the message is the runtime's.
        """
        if not spec.image:
            raise SandboxConfigError(f"sandbox provider {self.name}: the spec names no image")
        name = f"nemo-gym-{uuid4().hex}"
        words = self._instance_words(name, spec) if self.name == "apptainer" else self._run_words(name, spec)
        handle = SandboxHandle(name, self.name, spec)
        started = await self._call(words, spec.ready_timeout_s or _START_S, env=spec.env)
        if started.return_code or started.error_type:
            await self.close(handle)
            raise SandboxCreateError(
                f"{self.name} does not start {spec.image}: {started.error_type or (started.stderr or '').strip()}",
                f"`{self.name} info` says whether the runtime works",
            )
        return handle

    async def exec(
        self,
        handle: SandboxHandle,
        command: str,
        *,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float | None = None,
        user: str | int | None = None,
    ) -> SandboxExecResult:
        """Run a shell command; after `timeout_s` seconds it is killed in the container, too, if that has `timeout`."""
        spec: SandboxSpec = handle.raw
        surroundings = {**spec.env, **(env or {})}
        if timeout_s is not None:
            inner = f"timeout -s KILL {math.ceil(timeout_s)} /bin/sh -c {shlex.quote(command)}"
            command = f"if command -v timeout >/dev/null; then exec {inner}; else {command}\nfi"
        words = self._exec_words(handle, surroundings, cwd or spec.workdir, user)
        most = int(spec.provider_options.get("output_bytes", OUTPUT_BYTES))
        ended = await self._call([*words, "/bin/sh", "-c", command], timeout_s, env=surroundings, output_bytes=most)
        if ended.return_code == SANDBOX_FAILED and not ended.error_type:  # docker's and podman's own failures
            return SandboxExecResult(ended.stdout, ended.stderr, SANDBOX_FAILED, "sandbox")
        return ended

    async def upload_file(self, handle: SandboxHandle, source_path: Path, target_path: str) -> None:
        """Copy a file in; its folder is made.

        Raises:
            OSError: It does not arrive.
        """
        target = shlex.quote(target_path)
        command = f'mkdir -p "$(dirname {target})" && cat > {target}'
        with source_path.open("rb") as source:
            await self._copy(handle, command, stdin=source)

    async def download_file(self, handle: SandboxHandle, source_path: str, target_path: Path) -> None:
        """Copy a file out.

        Raises:
            OSError: It does not arrive.
        """
        target_path.parent.mkdir(parents=True, exist_ok=True)
        with target_path.open("wb") as target:
            await self._copy(handle, f"cat {shlex.quote(source_path)}", stdout=target)

    async def status(self, handle: SandboxHandle) -> SandboxStatus:
        """Whether commands can run in it."""
        words = self._exec_words(handle, {}, None, None)
        tried = await self._call([*words, "/bin/sh", "-c", ":"], _CONTROL_S)
        return SandboxStatus.STOPPED if tried.return_code else SandboxStatus.RUNNING

    async def endpoint(self, handle: SandboxHandle, port: int) -> SandboxEndpoint:
        """Where a port of the spec is reached from this machine.

        Raises:
            OSError: The runtime does not tell.
        """
        asked = await self._call(["port", handle.sandbox_id, f"{port}/tcp"], _CONTROL_S)
        if asked.return_code or not (asked.stdout or "").strip():
            raise OSError(f"{self.name} does not tell where port {port} is reached: {(asked.stderr or '').strip()}")
        return SandboxEndpoint(f"http://{(asked.stdout or '').split()[0]}")

    async def close(self, handle: SandboxHandle) -> None:
        """Remove the container with all that runs in it."""
        words = ["instance", "stop", "--force"] if self.name == "apptainer" else ["rm", "--force"]
        await self._call([*words, handle.sandbox_id], _CONTROL_S)

    def _run_words(self, name: str, spec: SandboxSpec) -> list[str]:
        """The words after `docker` or `podman` that start a container; they take values of `--env` from our side."""
        resources, options = spec.resources, spec.provider_options
        assert isinstance(resources, SandboxResources)
        memory = resources.memory_mib and f"{resources.memory_mib}m"
        flags = {
            "--workdir": spec.workdir,
            "--network": self._network,
            "--cpus": resources.cpu,
            "--memory": memory,
            "--memory-swap": memory,  # the same, so that no swap comes on top
            "--gpus": resources.gpu,
            "--pids-limit": options.get("processes"),
            "--ulimit": options.get("cpu_s") and f"cpu={options['cpu_s']:.0f}",
        }
        words = ["run", "--detach", "--rm", "--init", "--name", name]
        words += [word for flag, value in flags.items() if value for word in (flag, str(value))]
        if file_mib := options.get("file_mib"):
            words += ["--ulimit", f"fsize={file_mib * 2**20:.0f}"]
        words += [word for key in spec.env for word in ("--env", key)]
        words += [word for port in spec.ports for word in ("--publish", f"127.0.0.1::{port}")]
        words += [*self._run_args, *options.get("run_args", ())]
        image = (spec.image or "").removeprefix("docker://")
        if spec.entrypoint:
            return [*words, "--entrypoint", spec.entrypoint[0], image, *spec.entrypoint[1:]]
        return [*words, "--entrypoint", "/bin/sh", image, "-c", f"sleep {math.ceil(spec.ttl_s or _FOREVER)}"]

    def _instance_words(self, name: str, spec: SandboxSpec) -> list[str]:
        assert isinstance(spec.resources, SandboxResources)
        words = ["instance", "start", "--containall", "--writable-tmpfs"]
        if self._network:
            words += ["--net", "--network", self._network]
        if spec.resources.memory_mib:
            words += ["--memory", f"{spec.resources.memory_mib}M"]
        if spec.resources.gpu:
            words.append("--nv")
        return [*words, *self._run_args, *spec.provider_options.get("run_args", ()), str(spec.image), name]

    def _exec_words(
        self, handle: SandboxHandle, env: Mapping[str, str], cwd: str | None, user: str | int | None
    ) -> list[str]:
        words = ["exec"]
        if self.name == "apptainer":
            if user not in {None, "root", 0}:
                raise SandboxConfigError(f"apptainer: cannot run as user {user!r}", "leave `user` out")
            words += ["--pwd", cwd] if cwd else []
            return [*words, f"instance://{handle.sandbox_id}"]
        words += ["--interactive", *(["--workdir", cwd] if cwd else [])]
        words += [word for key in env for word in ("--env", key)]
        words += ["--user", str(user)] if user is not None else []
        return [*words, handle.sandbox_id]

    async def _copy(
        self, handle: SandboxHandle, command: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> None:
        words = [*self._exec_words(handle, {}, handle.raw.workdir, None), "/bin/sh", "-c", command]
        ended = await self._call(words, _CONTROL_S, stdin=stdin, stdout=stdout)
        if ended.return_code or ended.error_type:
            raise OSError(f"{self.name}: {command}: {ended.error_type or (ended.stderr or '').strip()}")

    async def _call(
        self, words: Sequence[str], timeout_s: float | None, *, env: Mapping[str, str] | None = None, **more: Any
    ) -> SandboxExecResult:
        """Call the runtime. Values of environment variables go through its environment, so that no one lists them."""
        prefix = "APPTAINERENV_" if self.name == "apptainer" else ""
        handed = {f"{prefix}{key}": value for key, value in (env or {}).items()}
        # a container's PATH must not decide where the runtime finds its own programs
        handed = {key: value for key, value in handed.items() if key != "PATH"}
        return await run_command([self._program, *words], timeout_s=timeout_s, env={**os.environ, **handed}, **more)
