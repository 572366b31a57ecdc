"""Runs one command in a process group of its own, which ends when the command ends, is too slow or says too much."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from nemo_gym_lite.sandbox.providers.base import SandboxExecResult

SANDBOX_FAILED = 125
"""Return code where the sandbox failed and not the command."""

OUTPUT_BYTES = 2**20
"""Bytes of stdout and of stderr that are kept, where nothing else is asked for."""

_DRAIN_S = 1.0
"""Seconds to wait for the last output once the group was killed; what left the group may hold the pipes open."""


class _Command(asyncio.SubprocessProtocol):
    """One running command; its output is collected up to `output_bytes` each of stdout and stderr."""

    def __init__(self, output_bytes: int) -> None:
        loop = asyncio.get_running_loop()
        self.output = {1: bytearray(), 2: bytearray()}
        self.flooded = False
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._output_bytes = output_bytes
        self._pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the process, which leads its group."""
        self._pid = transport.get_pid()  # type: ignore[attr-defined]

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep output, as long as there is room."""
        kept = self.output[fd]
        kept += data[: self._output_bytes - len(kept)]
        if len(kept) == self._output_bytes and not self.flooded:
            self.flooded = True
            self.kill()

    def process_exited(self) -> None:
        """End what the command left behind; its pipes end with that."""
        self.kill()
        self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """All output is there."""
        self.closed.set_result(None)

    def kill(self) -> None:
        """End the whole group, once: later its number may belong to others."""
        if not self.exited.done():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)


async def run_command(
    words: Sequence[str],
    *,
    timeout_s: float | None,
    output_bytes: int = OUTPUT_BYTES,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> SandboxExecResult:
    """Run a command to its end, or kill its group.

    Args:
        words: Program and arguments.
        timeout_s: Seconds that it may take; None is no limit.
        output_bytes: Bytes that it may write to stdout and to stderr.
        cwd: Folder to run in.
        env: Its whole environment; None is ours.
        stdin: What it reads; nothing by default.
        stdout: File for its output, which then is not in the result.

    Raises:
        OSError: The program cannot be started.
    """
    pipes: dict[str, Any] = {
        "stdin": stdin or asyncio.subprocess.DEVNULL,
        "stdout": stdout or asyncio.subprocess.PIPE,
        "stderr": asyncio.subprocess.PIPE,
    }
    transport, command = await asyncio.get_running_loop().subprocess_exec(
        lambda: _Command(output_bytes), *words, cwd=cwd, env=env, start_new_session=True, **pipes
    )
    error_type = None
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.shield(command.exited)
    except TimeoutError:
        error_type = "timeout"
        command.kill()
    except BaseException:  # nobody waits any more
        command.kill()
        transport.close()
        raise
    await asyncio.wait([command.exited, command.closed], timeout=_DRAIN_S)
    transport.close()
    if command.flooded:
        error_type = "output_limit"
    code = transport.get_returncode()
    out, err = (bytes(command.output[fd]).decode(errors="replace") for fd in (1, 2))
    return SandboxExecResult(out, err, -signal.SIGKILL if code is None else code, error_type)
