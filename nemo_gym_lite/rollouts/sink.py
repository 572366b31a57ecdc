"""The one writer of an output: whole lines, appended as rollouts finish, never truncated but for a torn tail.

A written line survives a SIGKILL of ours, because it is the kernel's from then on. `sync` guards against the loss
of the host; the collector calls it about once a second, which costs nothing beside a sync per row.
"""

import asyncio
import fcntl
import os
from pathlib import Path

import orjson

from nemo_gym_lite.errors import OutputError
from nemo_gym_lite.rollouts.files import OutputFiles

_BLOCK_BYTES = 1 << 16


class JsonlFile:
    """A JSONL file that is only appended to.

    Opening it takes a lock that dies with this process, and repairs the tail that a killed writer left: a last line
    that is whole JSON gets its newline, a torn one is cut off.

    Attributes:
        torn_bytes: Length of the torn line that was cut off, 0 if there was none.

    Raises:
        OutputError: The file cannot be opened, or another process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = _open_locked(path)
        try:
            self.torn_bytes = self._repair_tail()
        except OSError as error:
            os.close(self._fd)
            raise _unwritable(path, error) from error
        except OutputError:
            os.close(self._fd)
            raise
        self._dirty = False

    def write(self, line: bytes) -> None:
        """Write one line, which ends with its newline.

        Raises:
            OutputError: The line could not be written whole; what was written of it is taken back.
        """
        try:
            written = os.write(self._fd, line)
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError as error:
            self._take_back()
            raise _unwritable(self.path, error) from error
        self._end += len(line)
        self._dirty = True

    def sync(self) -> None:
        """Ask the disk to keep what was written; blocks for milliseconds, so call it off the event loop.

        Raises:
            OutputError: The disk refuses.
        """
        if self._dirty:
            self._dirty = False
            try:
                os.fsync(self._fd)
            except OSError as error:
                raise _unwritable(self.path, error) from error

    def clear(self) -> None:
        """Delete every line."""
        self._end = 0
        self._take_back()

    def close(self) -> None:
        """Sync and release the lock; a file without a line does not stay."""
        self.sync()
        if not self._end:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def _repair_tail(self) -> int:
        self._end = os.fstat(self._fd).st_size
        start = self._start_of_last_line(self._end)
        if start == self._end:
            return 0
        tail = os.pread(self._fd, self._end - start, start)
        try:
            whole = isinstance(orjson.loads(tail), dict)
        except orjson.JSONDecodeError:
            whole = False
        if tail[:1] not in (b"{", b"\0"):  # neither a row of ours nor what a crashed host leaves
            raise OutputError(
                f"{self.path} ends with what is no row: {tail[:40]!r}", "give this run another output_jsonl_fpath"
            )
        if whole:
            os.write(self._fd, b"\n")
            self._end += 1
            return 0
        self._end = start
        self._take_back()
        return len(tail)

    def _start_of_last_line(self, end: int) -> int:
        """Offset just behind the last newline, found from the end: lines can be megabytes, files terabytes."""
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0

    def _take_back(self) -> None:
        os.ftruncate(self._fd, self._end)


class Sink:
    """Writes rollouts to the output and failures to the sidecar.

    Attributes:
        rollouts: The output.
        failures: The sidecar.
    """

    def __init__(self, files: OutputFiles) -> None:
        self.rollouts = JsonlFile(files.rollouts)
        try:
            self.failures = JsonlFile(files.failures)
        except OutputError:
            self.rollouts.close()
            raise

    def clear(self) -> None:
        """Delete every line of both."""
        self.rollouts.clear()
        self.failures.clear()

    def sync(self) -> None:
        """Ask the disk to keep what was written."""
        self.rollouts.sync()
        self.failures.sync()

    async def sync_aside(self) -> None:
        """The same, off the event loop."""
        await asyncio.to_thread(self.sync)

    def close(self) -> None:
        """Close both."""
        self.rollouts.close()
        self.failures.close()


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror}", "make room and run the same command again; finished rollouts are kept"
    )


def _open_locked(path: Path) -> int:
    """Open for appending and lock; the lock dies with this process."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(
                f"cannot open {path}: {error.strerror}", "give an output_jsonl_fpath in a folder that you may write to"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except BlockingIOError:
            os.close(fd)
            raise OutputError(
                f"{path} is being written by another collector",
                "wait for it to end, or give this run an output of its own",
            ) from None
        os.close(fd)  # its last writer removed the empty file between our opening and our lock
