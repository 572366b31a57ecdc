"""Sandboxes without containers: a folder, limits and a process group for each command.

It stops code that loops, floods, forks or takes all memory, and what honest code leaves behind. It is no wall against
hostile code: commands run as this process's user, read what that user may read, and a process that starts a session of
its own is not killed with its group. With `network: false`, which takes Linux's namespaces, they reach no network, and
nothing outlives its command. For more, use a container.
"""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from nemo_gym_lite.errors import SandboxConfigError, SandboxCreateError
from nemo_gym_lite.sandbox.providers.base import (
    LocalProvider,
    SandboxExecResult,
    SandboxHandle,
    SandboxResources,
    SandboxSpec,
    SandboxStatus,
)
from nemo_gym_lite.sandbox.providers.commands import OUTPUT_BYTES, SANDBOX_FAILED, run_command

_PATH = f"{Path(os.__file__).parents[2] / 'bin'}:/usr/local/bin:/usr/bin:/bin"
"""Where commands are looked for: this Python's programs and the system's."""

_UNSHARE = ("unshare", *(["--map-root-user"] if os.geteuid() else []), "--net", "--pid", "--fork", "--kill-child")


class SubprocessProvider(LocalProvider):
    """Makes sandboxes of folders and process groups.

    Args:
        network: Whether commands may reach the network. False needs the program `unshare` and the right to use it.
    """

    name = "subprocess"

    def __init__(self, network: bool = True) -> None:
        self._prefix = () if network else _UNSHARE
        self._may_unshare = network

    async def create(self, spec: SandboxSpec) -> SandboxHandle:
        """Make the folder.

        Raises:
            SandboxCreateError: The network cannot be taken away on this machine.
        """
        if not self._may_unshare:
            await self._try_namespaces()
        return SandboxHandle(await asyncio.to_thread(_new_folder), self.name, spec)

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
        """Run a shell command in the folder, or in its folder `cwd`, within the limits of the sandbox's spec.

        Raises:
            SandboxConfigError: It should run as another user, or outside the folder.
        """
        if user is not None:
            raise SandboxConfigError(f"subprocess sandbox: cannot run as user {user!r}", "use a container provider")
        spec: SandboxSpec = handle.raw
        folder = _inside(handle, cwd or ".")
        folder.mkdir(parents=True, exist_ok=True)
        surroundings = {"PATH": _PATH, "HOME": handle.sandbox_id, "TMPDIR": handle.sandbox_id, "LANG": "C.UTF-8"}
        script = f'{_limits(spec)}exec /bin/sh -c "$1"'
        try:
            return await run_command(
                (*self._prefix, "/bin/sh", "-c", script, "sandbox", command),
                timeout_s=timeout_s,
                output_bytes=int(spec.provider_options.get("output_bytes", OUTPUT_BYTES)),
                cwd=folder,
                env={**surroundings, **spec.env, **(env or {})},
            )
        except OSError as error:  # no process, no memory, or the sandbox is gone
            return SandboxExecResult(None, str(error), SANDBOX_FAILED, "sandbox")

    async def upload_file(self, handle: SandboxHandle, source_path: Path, target_path: str) -> None:
        """Copy a file into the folder."""
        target = _inside(handle, target_path)
        await asyncio.to_thread(_copy, source_path, target)

    async def download_file(self, handle: SandboxHandle, source_path: str, target_path: Path) -> None:
        """Copy a file out of the folder; a link that leads out of it is refused."""
        await asyncio.to_thread(_copy, _inside(handle, source_path), target_path)

    async def status(self, handle: SandboxHandle) -> SandboxStatus:
        """Running while the folder is there."""
        there = await asyncio.to_thread(Path(handle.sandbox_id).is_dir)
        return SandboxStatus.RUNNING if there else SandboxStatus.STOPPED

    async def close(self, handle: SandboxHandle) -> None:
        """Remove the folder; commands have ended by then."""
        await asyncio.to_thread(shutil.rmtree, handle.sandbox_id, ignore_errors=True)

    async def _try_namespaces(self) -> None:
        try:
            tried = await run_command((*_UNSHARE, "true"), timeout_s=10)
            why = tried.stderr if tried.return_code else ""
        except OSError as error:
            why = str(error)
        if why:
            raise SandboxCreateError(
                f"subprocess sandbox: network=false is not possible here: {why.strip()}",
                "leave `network` out, or use a container provider",
            )
        self._may_unshare = True


def _new_folder() -> str:
    return str(Path(tempfile.mkdtemp(prefix="nemo-gym-sandbox-")).resolve())


def _limits(spec: SandboxSpec) -> str:
    """Shell commands that limit what follows. A limit that is already stricter stays as it is."""
    options = spec.provider_options
    assert isinstance(spec.resources, SandboxResources)
    wanted = {
        "c": 0,  # a core dump would take longer than many commands
        "t": options.get("cpu_s"),
        "v": spec.resources.memory_mib and spec.resources.memory_mib * 1024,
        "f": options.get("file_mib") and int(options["file_mib"] * 2048),  # in blocks of 512 bytes
    }
    lines = [f"ulimit -{flag} {value:.0f} 2>/dev/null; " for flag, value in wanted.items() if value is not None]
    if processes := options.get("processes"):
        # The kernel counts all processes of the user (and not root's), so those that exist are added. bash or dash.
        most = int(processes) + _processes_now()
        lines.append(f"{{ ulimit -u {most} || ulimit -p {most}; }} 2>/dev/null; ")
    return "".join(lines)


def _processes_now() -> int:
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, IndexError, ValueError):
        return 10_000


def _inside(handle: SandboxHandle, path: str) -> Path:
    root = Path(handle.sandbox_id)
    found = (root / path).resolve()
    if not found.is_relative_to(root):
        raise SandboxConfigError(
            f"subprocess sandbox: {path} is outside of its folder", "use relative paths, or a container provider"
        )
    return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
