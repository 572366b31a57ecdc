"""Runs in the sandbox: plays a solution on its tests' inputs, each in a copy of this process, and tells the outputs.

`task.json` holds `inputs`, `fn_name`, `timeout_s` and `output_bytes`, and `solution.py` the solution. Each line of
stdout is what came of one test: `{"status": "ok" | "error" | "timeout", "output": ..., "error": ...}`. The outputs
that are expected are not in the sandbox, so nothing that a solution does here can make a wrong output right.
Any Python since 3.8 will do.
"""

# Every check starts this anew, and importing pathlib or typing takes longer than most tests.
# ruff: noqa: PTH123

from __future__ import annotations

import json
import os
import signal
import sys
import time

MYPY = False
if MYPY:
    from types import CodeType
    from typing import Any, NoReturn

_SHOWN_CHARS = 500
_FILES = {0: "test.in", 1: "test.out", 2: "test.err"}


def main() -> None:
    """Play all tests; a solution that does not compile, or a test that takes too long, ends it."""
    task = json.loads(_start_of("task.json"))
    try:
        code = compile(_start_of("solution.py"), "solution.py", "exec")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        _tell({"status": "error", "error": f"{type(error).__name__}: {error}"[:_SHOWN_CHARS]})
        return
    for given in task["inputs"]:
        outcome = _play(code, given, task)
        _tell(outcome)
        if outcome["status"] == "timeout":
            return


def _play(code: CodeType, given: str, task: dict[str, Any]) -> dict[str, Any]:
    """What came of one test."""
    _write(_FILES[0], given)
    _write("result.json", "")
    pid = os.fork()
    if pid == 0:
        _become_solution(code, given, task["fn_name"])
    give_up_at = time.monotonic() + task["timeout_s"]
    pause_s = 0.001
    ended, status = os.waitpid(pid, os.WNOHANG)
    while not ended:
        if time.monotonic() > give_up_at:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return {"status": "timeout", "error": f"it took longer than {task['timeout_s']:g} s"}
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.02)
        ended, status = os.waitpid(pid, os.WNOHANG)
    if status != 0:
        return {"status": "error", "error": _why(status)}
    output = _start_of("result.json" if task["fn_name"] else _FILES[1], task["output_bytes"] + 1)
    if len(output) > task["output_bytes"]:
        return {"status": "error", "error": f"it wrote more than {task['output_bytes']} bytes"}
    return {"status": "ok", "output": output.decode(errors="replace")}


def _become_solution(code: CodeType, given: str, fn_name: str) -> NoReturn:
    """Run the solution with the test's input, as a program or by calling its function."""
    failed = 1
    try:
        for descriptor, name in _FILES.items():
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(name, flags, 0o600), descriptor)
        namespace: Any = {"__name__": "solution" if fn_name else "__main__"}
        exec(code, namespace)  # noqa: S102 -- this is what the sandbox is for
        if fn_name:
            solution = namespace.get(fn_name) or getattr(namespace["Solution"](), fn_name)
            result = solution(*[json.loads(line) for line in given.splitlines() if line.strip()])
            _write("result.json", json.dumps(result))
        failed = 0
    except SystemExit as end:
        failed = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # a solution raises anything, and nothing may lead back into the loop over tests
        sys.excepthook(*sys.exc_info())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(failed)


def _why(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"it was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    said = _start_of(_FILES[2], 1_000_000).decode(errors="replace").strip().splitlines()
    return said[-1][:_SHOWN_CHARS] if said else f"it exited with code {os.WEXITSTATUS(status)}"


def _start_of(name: str, most_bytes: int = -1) -> bytes:
    try:
        with open(name, "rb") as file:
            return file.read(most_bytes)
    except OSError:
        return b""


def _write(name: str, text: str) -> None:
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)


def _tell(outcome: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
