"""Shows how far a run is, a few times a second at most and off the path of the rollouts."""

import logging
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn, TextIO

from tqdm import tqdm

_DESCRIPTION = "Collecting rollouts"
_LINE_INTERVAL_S = 10.0
"""Without a terminal, a line every so often: enough to follow a log, too little to fill a disk."""


_SEEN_CHARACTERS = 300
_SEEN_LINES = 4


def first_line(message: str) -> str:
    """The start of a failure's message, for a terminal; the sidecar has all of it."""
    line = message.partition("\n")[0]
    return line if len(line) <= _SEEN_CHARACTERS else f"{line[:_SEEN_CHARACTERS]}..."


def first_lines(message: str) -> str:
    """The start of a failure's message with its causes and its hint, a line each."""
    lines = [first_line(line.strip()) for line in message.splitlines() if line.strip()]
    shown = lines if len(lines) <= _SEEN_LINES else [*lines[: _SEEN_LINES - 1], lines[-1]]
    return "\n    ".join(shown)


def say(text: str) -> None:
    """Print a line on stderr without tearing a bar that is there; nobody reading it is no reason to stop."""
    with suppress(OSError, ValueError):
        tqdm.write(text, file=sys.stderr)


class TerminalLog(logging.Handler):
    """Shows log records as lines between bars, and where an exception was raised, once for each place."""

    def __init__(self) -> None:
        super().__init__()
        self._places: set[tuple[str, int | None]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record; an exception that is raised again where it was raised before is not shown again."""
        lines = [f"{record.levelname.lower()}: {first_line(record.getMessage())}"]
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            last = traceback.extract_tb(error.__traceback__)[-1:]
            place = (last[0].filename, last[0].lineno) if last else (type(error).__name__, None)
            if place in self._places:
                return
            self._places.add(place)
            lines += traceback.format_exception(error)
        say("\n".join(line.rstrip() for line in lines))


@dataclass(slots=True)
class Tally:
    """What happened to the rollouts so far; the collector counts, the display reads.

    Attributes:
        total: Rollouts that the plan holds.
        kept: Rollouts found finished when the run began.
        given_up: Rollouts that failed for good, or as often as they may, before the run began.
        delivered: Rollouts scored and written by this run.
        failed: Rollouts of this run that ended in the sidecar.
        in_flight: Rollouts being played now.
        max_in_flight: The most there ever were at once.
        mean_reward: Mean reward over everything in the output, None before the first.
        failure_classes: Failures by class.
        first_failures: The first message of each class, which usually says what is wrong with all of them.
    """

    total: int
    kept: int = 0
    given_up: int = 0
    delivered: int = 0
    failed: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    mean_reward: float | None = None
    failure_classes: dict[str, int] = field(default_factory=dict)
    first_failures: dict[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> int:
        """Rollouts that are out of the way: kept, given up, delivered or failed."""
        return self.kept + self.given_up + self.delivered + self.failed

    @property
    def left(self) -> int:
        """Rollouts that are not out of the way, at most: what is kept is only found on the way."""
        return max(0, self.total - self.ended)

    def count_failure(self, failure_class: str, message: str) -> None:
        """Count a rollout that ended in the sidecar."""
        self.failed += 1
        self.failure_classes[failure_class] = self.failure_classes.get(failure_class, 0) + 1
        self.first_failures.setdefault(failure_class, message)

    def postfix(self) -> str:
        """`reward=0.73, failed=2`, what the bar ends with."""
        reward = "-" if self.mean_reward is None else f"{self.mean_reward:.2f}"
        return f"reward={reward}, failed={self.failed}"


class Progress:
    """A bar on a terminal, plain lines elsewhere; `show` may be called as often as one likes.

    Args:
        tally: What is shown.
        stream: Where to; stderr by default.
    """

    def __init__(self, tally: Tally, stream: TextIO | None = None) -> None:
        self._tally = tally
        self._stream = stream or sys.stderr
        self._began = self._last_line = time.monotonic()
        self._told: set[str] = set()  # failure classes
        self._bar: tqdm[NoReturn] | None = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=tally.total,
                initial=tally.ended,
                desc=_DESCRIPTION,
                file=self._stream,
                mininterval=0.0,
                dynamic_ncols=True,
            )

    def show(self) -> None:
        """Show the state of now, and the first failure of each class when it is new."""
        for failure_class in self._tally.first_failures.keys() - self._told:
            self._told.add(failure_class)
            say(f"first {failure_class}: {first_line(self._tally.first_failures[failure_class])}")
        if self._bar is not None:
            self._bar.set_postfix_str(self._tally.postfix(), refresh=False)
            self._bar.n = self._tally.ended
            with suppress(OSError, ValueError):
                self._bar.refresh()
        elif time.monotonic() - self._last_line >= _LINE_INTERVAL_S:
            self._last_line = time.monotonic()
            self._write_line()

    def close(self) -> None:
        """Show the last state and end the bar."""
        if self._bar is not None:
            self.show()
            with suppress(OSError, ValueError):
                self._bar.close()
        else:
            self._write_line()

    def _write_line(self) -> None:
        done, total = self._tally.ended, self._tally.total
        elapsed_s = max(time.monotonic() - self._began, 1e-6)
        rate = (self._tally.delivered + self._tally.failed) / elapsed_s
        line = (
            f"{_DESCRIPTION}: {100 * done // max(total, 1):3d}% {done}/{total} "
            f"[{tqdm.format_interval(elapsed_s)}, {rate:.2f}it/s, {self._tally.postfix()}]"
        )
        with suppress(OSError, ValueError):
            print(line, file=self._stream, flush=True)
