"""Shows how far a run is, a few times a second at most and off the path of the rollouts."""

import logging
import sys
import time
import traceback
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from tqdm import tqdm

from nemo_gym_lite.rollouts.pace import Pace
from nemo_gym_lite.routing.call_stats import LATENCY_BOUNDS_S

if TYPE_CHECKING:
    _Tqdm = tqdm[NoReturn]
else:
    _Tqdm = tqdm  # generic only to a type checker

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
        limit: Rollouts that may be in flight at once; 0 until that is known.
        tokens: Tokens of the answers of this run's rollouts, failed ones included.
        played_s: Seconds of all rollouts of this run together, failed ones included.
        played_square_s: Sum of the squares of those seconds.
        durations: Those rollouts by the seconds that they took, in the buckets of `LATENCY_BOUNDS_S`.
        cost_usd: What everything in the output has cost, in US dollars; None where no price is known.
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
    limit: int = 0
    tokens: int = 0
    played_s: float = 0.0
    played_square_s: float = 0.0
    durations: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    cost_usd: float | None = None
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

    def count_tokens(self, usage: Any) -> None:
        """Count the tokens of a rollout's answers, as its `usage` tells them."""
        if isinstance(usage, dict) and isinstance(tokens := usage.get("output_tokens"), int):
            self.tokens += tokens

    def count_time(self, seconds: float) -> None:
        """Count the seconds that a rollout took."""
        self.played_s += seconds
        self.played_square_s += seconds * seconds
        self.durations[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1

    def postfix(self, tokens_per_s: float = 0.0) -> str:
        """`reward=0.73, failed=2, 812 tok/s, 95/128 in flight, $0.42`, as far as it is known."""
        parts = [f"reward={'-' if self.mean_reward is None else f'{self.mean_reward:.2f}'}", f"failed={self.failed}"]
        if tokens_per_s > 0:
            parts.append(f"{tokens_per_s:.0f} tok/s")
        if self.in_flight:
            parts.append(f"{self.in_flight}/{self.limit} in flight" if self.limit else f"{self.in_flight} in flight")
        if self.cost_usd is not None:
            parts.append(f"${self.cost_usd:.2f}")
        return ", ".join(parts)


class _Bar(_Tqdm):
    """A bar whose speed and time left are what it is told, for its own cannot know what an earlier run did."""

    rate: float | None = None

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the bar is drawn from."""
        return {**super().format_dict, "rate": self.rate}


class Progress:
    """A bar on a terminal, plain lines elsewhere; `show` may be called as often as one likes.

    Speed and time left are those of what this run plays: rollouts kept from an earlier one are no work.

    Args:
        tally: What is shown.
        stream: Where to; stderr by default.
        clock: Gives the time, in seconds.
        what: What is going on.
    """

    def __init__(
        self,
        tally: Tally,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        what: str = "Collecting rollouts",
    ) -> None:
        self._tally = tally
        self._what = what
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began_s = self._last_line_s = clock()
        self._pace = Pace(self._began_s, 0, 0)
        self._bar: _Bar | None = None
        if self._stream.isatty():
            self._bar = _Bar(
                total=tally.total,
                initial=tally.ended,
                desc=what,
                file=self._stream,
                mininterval=0.0,
                dynamic_ncols=True,
            )

    def show(self) -> None:
        """Show the state of now."""
        self._pace.note(self._clock(), self._tally.delivered + self._tally.failed, self._tally.tokens)
        rate, tokens_per_s = self._pace.per_s()
        if self._bar is not None:
            self._draw(self._bar, rate, tokens_per_s)
        elif self._clock() - self._last_line_s >= _LINE_INTERVAL_S:
            self._last_line_s = self._clock()
            self._write_line(rate, tokens_per_s)

    def close(self) -> None:
        """Show the last state, with the speeds of the whole run, and end the bar."""
        tally, elapsed_s = self._tally, max(self._clock() - self._began_s, 1e-6)
        rate, tokens_per_s = (tally.delivered + tally.failed) / elapsed_s, tally.tokens / elapsed_s
        if self._bar is not None:
            self._draw(self._bar, rate, tokens_per_s)
            with suppress(OSError, ValueError):
                self._bar.close()
        else:
            self._write_line(rate, tokens_per_s)

    def _draw(self, bar: _Bar, rate: float, tokens_per_s: float) -> None:
        bar.set_postfix_str(self._tally.postfix(tokens_per_s), refresh=False)
        bar.n, bar.total, bar.rate = self._tally.ended, self._tally.total, rate or None
        bar.initial = self._tally.kept + self._tally.given_up
        with suppress(OSError, ValueError):
            bar.refresh()

    def _write_line(self, rate: float, tokens_per_s: float) -> None:
        done, total = self._tally.ended, self._tally.total
        elapsed = tqdm.format_interval(self._clock() - self._began_s)
        left = tqdm.format_interval(self._tally.left / (rate or 1.0)) if rate or not self._tally.left else "?"
        line = (
            f"{self._what}: {100 * done // max(total, 1):3d}% {done}/{total} "
            f"[{elapsed}<{left}, {rate:.2f}it/s, {self._tally.postfix(tokens_per_s)}]"
        )
        with suppress(OSError, ValueError):
            print(line, file=self._stream, flush=True)
