"""Finds a log file that no other run writes into."""

import fcntl
import itertools
import os
from pathlib import Path


def claim_log(path: Path, first_line: str) -> Path:
    """Empty a log file that is this process's own for as long as it lives, and write its first line.

    Returns:
        `path`, or `path` with a number before its suffix where another run of the same folder has it.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        place = path if number == 1 else path.with_suffix(f".{number}{path.suffix}")
        fd = os.open(place, os.O_CREAT | os.O_WRONLY, 0o644)  # stays open: the lock ends with it
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        except OSError:
            pass  # a network folder without locks
        break
    os.ftruncate(fd, 0)
    os.write(fd, f"{first_line}\n".encode())
    return place
