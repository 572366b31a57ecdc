"""Puts several outputs together: every rollout once, in the order of tasks, in memory for labels and no rows."""

import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import parse_row
from nemo_gym_lite.rollouts.fingerprints import FingerprintTable
from nemo_gym_lite.rollouts.metrics import positions_by_label
from nemo_gym_lite.rollouts.resume import row_identity
from nemo_gym_lite.row_fields import ROLLOUT_INDEX, TASK_INDEX


class RowIndex:
    """Where each rollout of some files is: about 60 bytes for each, whatever its length.

    Attributes:
        malformed: Lines that are no JSON objects, as a killed collector leaves at the end; they are left out.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._paths: list[Path] = []
        self._tasks, self._rollouts = array("q"), array("q")
        self._files, self._starts, self._lengths = array("I"), array("Q"), array("Q")
        self._known = FingerprintTable()

    def __len__(self) -> int:
        return len(self._tasks)

    def read(self, path: Path, observe: Callable[[Json], None]) -> None:
        """Take the rollouts of a file in; `observe` gets every row.

        Raises:
            ConfigError: A rollout is there already.
            OutputError: The file was written by another program.
        """
        self._paths.append(path)
        start = 0
        with path.open("rb") as file:
            for line in file:
                row = parse_row(line)
                if row is None:
                    self.malformed += 1
                else:
                    self._note(row, path)
                    self._starts.append(start)
                    self._lengths.append(len(line))
                    observe(row)
                start += len(line)

    def write(self, target: BinaryIO) -> None:
        """Write the lines, sorted by task and rollout; no byte of a row changes."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")).fileno() for path in self._paths]
            for at in self._order():
                line = os.pread(files[self._files[at]], self._lengths[at], self._starts[at])
                target.write(line if line.endswith(b"\n") else line + b"\n")

    def _note(self, row: Json, path: Path) -> None:
        number = self._known.number(row_identity(row, path))
        if number < len(self):
            raise ConfigError(
                f"task {row[TASK_INDEX]}, rollout {row[ROLLOUT_INDEX]} is in {self._paths[self._files[number]]} and "
                f"again in {path}",
                "each rollout counts once; leave copies and outputs of other splits out of input_glob",
            )
        self._tasks.append(row[TASK_INDEX])
        self._rollouts.append(row[ROLLOUT_INDEX])
        self._files.append(len(self._paths) - 1)

    def _order(self) -> Iterator[int]:
        """Positions by task and, within one, by rollout: sorted by the lesser first, as each sort keeps order."""
        by_rollout = positions_by_label(self._rollouts)
        tasks = array("q", (self._tasks[at] for at in by_rollout))
        return (by_rollout[place] for place in positions_by_label(tasks))


def join_lines(paths: Iterable[Path], target: BinaryIO) -> int:
    """Write the whole lines of some files one after the other and return how many those are."""
    count = 0
    for path in paths:
        with path.open("rb") as file:
            for line in file:
                if parse_row(line) is not None:
                    target.write(line if line.endswith(b"\n") else line + b"\n")
                    count += 1
    return count
