"""What every command does with its outcome: an exit code, and an error's text instead of a traceback."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import wraps

from pydantic import BaseModel

from nemo_gym_lite.config.options import help_text
from nemo_gym_lite.errors import ConfigError, GymError

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_STOPPED_BY_BUDGET = 4
EXIT_INTERRUPTED = 130

_LAST_WAIT_S = 1.0
"""Seconds that threads get to end when a command does."""


def run_command(body: Callable[[], int]) -> int:
    """Run a command and return its exit code: 2 for the user's mistakes, 1 for failures, 130 for Ctrl-C.

    An exception that is none of ours keeps its traceback: it is a defect, and that is what to report.
    """
    _open_standard_streams()
    try:
        return body()
    except GymError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_INTERNAL
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `ng_dump_config | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def command(
    name: str, options: type[BaseModel], *, outlives_threads: bool = False
) -> Callable[[Callable[[Sequence[str]], int]], Callable[[], int]]:
    """Make a command's `main` of what it does with its command line; `--help` is the same for all.

    Args:
        name: What is typed.
        options: What it takes.
        outlives_threads: Whether it runs code of environments, which may leave threads that never return.
    """

    def make(body: Callable[[Sequence[str]], int]) -> Callable[[], int]:
        def run() -> int:
            if not asks_for_help(sys.argv[1:]):
                return body(sys.argv[1:])
            print(help_text(name, options))
            return EXIT_OK

        @wraps(body)
        def main() -> int:
            code = run_command(run)
            return _end(code) if outlives_threads else code

        return main

    return make


def _end(code: int) -> int:
    """Return the exit code, or end here if an environment left a thread that never returns: Python waits for it."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(_LAST_WAIT_S)
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
    return code


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether the command line holds `--help` or `-h`."""
    return bool({"--help", "-h"} & set(argv))


def with_flags(argv: Sequence[str]) -> list[str]:
    """The command line with `--json` as the option that it stands for."""
    return ["+json=true" if token == "--json" else token for token in argv]  # noqa: S105 - a word of a command line


def _open_standard_streams() -> None:
    """Lead streams that the caller closed (`2>&-`) to nowhere; the next file opened would get their output instead."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
