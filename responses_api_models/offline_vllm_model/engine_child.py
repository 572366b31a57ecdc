"""Begins a process of the engine: in a session of its own, with its output in the log, and never longer than ours.

A script of the standard library alone: `engine_child.py LOG PARENT_PID PYTHON ARGUMENTS...`.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(log: str, parent_pid: str, python: str, *arguments: str) -> None:
    """Become `python ARGUMENTS`."""
    os.setsid()  # so that it can be ended with all that it starts
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # else it would keep the GPU for ever
    if os.getppid() != int(parent_pid):
        return
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    os.execv(python, [python, *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(*sys.argv[1:])
