"""One life of a process of ours: started in its own process group, listened to, ended with its group."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Self

import orjson

from nemo_gym_lite.config.roots import EXTRA_ROOTS_VARIABLE, INSTALL_ROOT, search_roots
from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.run_files import CAUSE_MARK, INSTANCE_VARIABLE, LIFELINE_VARIABLE

LINE_LIMIT_BYTES = 64 * 1024
"""A longer line of output is shown in pieces, so that a process cannot fill the memory of the one that shows it."""

CHUNK_BYTES = 64 * 1024

Show = Callable[[str], None]
"""Shows one line of text to the user."""


class Child:
    """A process. `start` makes one.

    Attributes:
        pid: Process id, which is also its process group's.
        exited: Ends with the process's return code, after its whole group is gone.
    """

    def __init__(self, title: str, label: str, process: asyncio.subprocess.Process, show: Show) -> None:
        self.pid = process.pid
        self.exited: asyncio.Task[int]
        self._title = title
        self._label = label
        self._process = process
        self._show = show
        self._last_line = ""
        self._reported: dict[str, str] | None = None

    @classmethod
    async def start(
        cls,
        title: str,
        label: str,
        command: Sequence[str],
        show: Show,
        *,
        variables: Mapping[str, str],
        pass_fds: Sequence[int],
        folder: str | None = None,
        python: str = sys.executable,
    ) -> Self:
        """Start a process of Python and relay its output, each line with a label before it.

        Args:
            title: What it is, for errors, as in `server 'gsm8k'`.
            label: What goes before its lines.
            command: Arguments of the interpreter.
            show: Gets the lines of output.
            variables: Environment variables to add to this process's own.
            pass_fds: File descriptors that it inherits.
            folder: Working folder; this process's own by default.
            python: The interpreter; this process's own by default.

        Raises:
            ServerStartError: The system makes no more processes.
        """
        read_fd, write_fd = os.pipe()
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                *(python, "-P", *command),
                cwd=folder,
                env={**os.environ, **_places(), **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_fd,
                stderr=write_fd,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        except OSError as error:
            raise ServerStartError(f"{title} cannot be started: {error}") from error
        finally:
            os.close(write_fd)
            if process is None:
                os.close(read_fd)
        child = cls(title, label, process, show)
        child.exited = asyncio.create_task(child._until_gone(read_fd))
        return child

    @property
    def told_why(self) -> bool:
        """Whether the process said itself why it could not start."""
        return self._reported is not None

    def failure(self) -> ServerStartError:
        """Say why the process, which has ended, did so."""
        title = self._title
        if self._reported is not None:
            text = f"{title} cannot start: {self._reported['message']}"
            return ServerStartError(text, self._reported["hint"])
        code = self._process.returncode or 0
        if code >= 0:
            last_line = f": {self._last_line}" if self._last_line else ""
            return ServerStartError(f"{title} exited with code {code}{last_line}")
        hint = "the kernel kills for want of memory: see `dmesg`" if code == -signal.SIGKILL else ""
        return ServerStartError(f"{title} was killed by {signal.Signals(-code).name}", hint)

    def terminate(self) -> None:
        """Ask the process to end."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the process and all that it started, now."""
        if not self.exited.done():
            self._kill_group()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _until_gone(self, read_fd: int) -> int:
        relay = asyncio.create_task(self._relay(read_fd))
        try:
            code = await self._process.wait()
            self._kill_group()  # what the process started and left behind
            await asyncio.wait({relay}, timeout=1.0)  # a daemon that left the group may hold the pipe open
        finally:
            relay.cancel()
        return code

    async def _relay(self, read_fd: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
        )
        try:
            rest = b""
            while chunk := await reader.read(CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > LINE_LIMIT_BYTES:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._take(line)
            if rest:
                self._take(rest)
        finally:
            transport.close()

    def _take(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip("\r")
        if line.startswith(CAUSE_MARK):
            self._reported = orjson.loads(line.removeprefix(CAUSE_MARK))
            return
        self._last_line = line.strip() or self._last_line
        self._show(f"({self._label}) {line}")


def title_of(instances: Sequence[ServerInstance]) -> str:
    """What the process of these servers is called in messages."""
    names = ", ".join(repr(instance.name) for instance in instances)
    return f"server {names}" if len(instances) == 1 else f"the process of servers {names}"


async def start_servers(
    instances: Sequence[ServerInstance],
    variables: Mapping[str, str],
    lifeline_fd: int,
    show: Show,
    python: str = sys.executable,
) -> Child:
    """Start one process for these servers.

    Args:
        instances: What to serve; several only if they share a process.
        variables: Environment variables that lead it to the run's files.
        lifeline_fd: Read end of a pipe whose write end only this process holds.
        show: Gets the lines of output.
        python: The interpreter that runs it.

    Raises:
        ServerStartError: The system makes no more processes.
    """
    names = [instance.name for instance in instances]
    own = {**variables, INSTANCE_VARIABLE: names[0], LIFELINE_VARIABLE: str(lifeline_fd)}
    return await Child.start(
        title_of(instances),
        names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more",
        ("-m", "nemo_gym_lite.serving.host", *names),
        show,
        variables=own,
        pass_fds=(lifeline_fd,),
        folder=_working_folder(instances[0]) if len(names) == 1 else None,
        python=python,
    )


def _working_folder(instance: ServerInstance) -> str | None:
    """The server's own folder, as NeMo Gym has it; servers that are part of this package have none."""
    folder = instance.entrypoint.parent
    return None if folder.is_relative_to(INSTALL_ROOT / "nemo_gym_lite") else str(folder)


def _places() -> dict[str, str]:
    """Where the process finds code and files, wherever it works."""
    python_path = os.pathsep.join(filter(None, [str(INSTALL_ROOT), os.environ.get("PYTHONPATH", "")]))
    return {
        EXTRA_ROOTS_VARIABLE: os.pathsep.join(map(str, search_roots())),
        "PYTHONPATH": python_path,
        "PYTHONUNBUFFERED": "1",
    }
