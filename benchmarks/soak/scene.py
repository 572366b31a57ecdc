"""What every scenario is given: where to work, and how long it may take."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak.commands import Command, Place
from benchmarks.soak.engines import EngineProcess
from benchmarks.soak.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Scene:
    """One scenario's surroundings.

    Attributes:
        folder: Where it works.
        quick: Whether a smaller form is played.
        started: Commands that were started.
    """

    folder: Path
    quick: bool
    started: list[Command] = field(default_factory=list)

    def pick(self, quick: int, full: int) -> int:
        """The number for the form that is played."""
        return quick if self.quick else full

    def place(self, name: str, engines: Sequence[EngineProcess]) -> Place:
        """A folder of its own for one part."""
        return Place(self.folder / name, engines, self.started)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One paragraph of what a run must live through.

    Attributes:
        promise: What is asked.
        parts: They are played one after the other, each whatever became of the one before.
    """

    number: int
    title: str
    promise: str
    parts: Sequence[Callable[[Scene, Verdict], None]]


def say(text: str) -> None:
    """One line on stderr, with the time of day."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
