"""Runs one `vllm serve` and ends it, with all that it started, when whoever wanted it is gone.

A script of the standard library alone: `engine_process.py COMMAND...`, in a process group of its own. The end of the
pipe that `LIFELINE_VARIABLE` names means that the model server is gone, however it went.
"""

import os
import signal
import subprocess
import sys
import threading
import time

LIFELINE_VARIABLE = "NEMO_GYM_ENGINE_LIFELINE_FD"

GRACE_S = 4.0
"""Seconds between SIGTERM and SIGKILL when the model server is gone."""

HELPERS_S = 0.3
"""Seconds that the engine's helpers get to free its shared memory after it has ended."""


def main(command: list[str]) -> int:
    """Run `command` until it ends; returns its exit code, or dies of the signal that it died of."""
    lifeline_fd = int(os.environ.pop(LIFELINE_VARIABLE))
    os.set_inheritable(lifeline_fd, False)
    try:
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - the words are our own
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error}\n")
        return 127
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: engine.terminate())
    threading.Thread(target=_end_with, args=(lifeline_fd, engine), daemon=True).start()
    code = engine.wait()
    time.sleep(HELPERS_S)
    if code < 0:  # so that whoever waits for this process learns how the engine died
        if -code == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _end_with(lifeline_fd: int, engine: "subprocess.Popen[bytes]") -> None:
    os.read(lifeline_fd, 1)  # nobody writes: it returns at the end of the pipe
    engine.terminate()
    time.sleep(GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
