"""Finds out what an output already holds, so that the same command finishes the work instead of repeating it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nemo_gym_lite.errors import NO_ENDPOINT, OutputError
from nemo_gym_lite.rollouts.files import OutputFiles, read_rows
from nemo_gym_lite.rollouts.fingerprints import FingerprintSet, FingerprintTable
from nemo_gym_lite.rollouts.plan import Spec, agent_name_of, identity
from nemo_gym_lite.row_fields import FAILURE_CAUSE, FAILURE_CLASS, FAILURE_TERMINAL, KEY, ROLLOUT_INDEX, TASK_INDEX

Row = dict[str, Any]

MAX_ROLLOUT_ATTEMPTS = 3
"""How often a rollout may fail, over all runs, before it is given up."""


class Done:
    """The rollouts that an output already holds, and how often each of the others failed so far.

    Args:
        max_attempts: Failures after which a rollout is given up, counted over all runs.

    Attributes:
        rows: Scored rollouts found.
        malformed: Lines that are not JSON objects; they are left where they are, and owed again.
    """

    def __init__(self, max_attempts: int = MAX_ROLLOUT_ATTEMPTS) -> None:
        self._max_attempts = max_attempts
        self._delivered = FingerprintSet()
        self._attempts = FingerprintTable()
        self._terminal = FingerprintSet()
        self.rows = self.malformed = 0

    @property
    def has_failures(self) -> bool:
        """Whether anything failed in earlier runs."""
        return len(self._attempts) > 0

    def delivered(self, spec: Spec) -> bool:
        """Whether the output holds this rollout."""
        return spec.identity in self._delivered

    def owed(self, spec: Spec) -> bool:
        """Whether this rollout is still to be played: neither delivered nor given up."""
        return not self.delivered(spec) and not self.gave_up(spec)

    def gave_up(self, spec: Spec) -> bool:
        """Whether this rollout failed as often as it may, or in a way that another try would not change."""
        return self.attempts(spec) >= self._max_attempts or spec.identity in self._terminal

    def attempts(self, spec: Spec) -> int:
        """How often this rollout failed in earlier runs."""
        return (self._attempts.get(spec.identity) or 0) if len(self._attempts) else 0

    def note_rollout(self, row: Row, path: Path) -> bool:
        """Count a line of the output; False if it repeats a rollout, and is left where it is.

        Raises:
            OutputError: The row has no identity, so it is not ours to append to.
        """
        is_new = self._delivered.add(row_identity(row, path))
        self.rows += is_new
        return is_new

    def note_failure(self, row: Row) -> None:
        """Count a line of the sidecar; that no endpoint was there is no attempt, whatever the number of runs."""
        key, index = row.get(KEY), row.get(ROLLOUT_INDEX)
        in_vain = row.get(FAILURE_CAUSE) == NO_ENDPOINT or row.get(FAILURE_CLASS) == "unreachable"
        if isinstance(key, str) and isinstance(index, int) and not in_vain:
            mark = identity(key, index)
            self._attempts.set(mark, (self._attempts.get(mark) or 0) + 1)
            if row.get(FAILURE_TERMINAL):
                self._terminal.add(mark)


def row_identity(row: Row, path: Path) -> int:
    """Fingerprint of the rollout that a line of an output holds.

    Raises:
        OutputError: The row is not labelled as ours are.
    """
    key, index = row.get(KEY), row.get(ROLLOUT_INDEX)
    labelled = isinstance(row.get(TASK_INDEX), int) and agent_name_of(row) is not None
    if not isinstance(key, str) or not isinstance(index, int) or not labelled:
        raise OutputError(
            f"{path} holds rows without `{KEY}` or other labels of ours: another program wrote them, so nobody can "
            "say which tasks they answer",
            "give this run another output_jsonl_fpath, or delete the file with +overwrite=true",
        )
    return identity(key, index)


def scan(
    files: OutputFiles,
    observe: Callable[[Row], None],
    max_attempts: int = MAX_ROLLOUT_ATTEMPTS,
    observe_failure: Callable[[Row], None] = lambda _: None,
) -> Done:
    """Read an output and its sidecar once, a line at a time; `observe` gets every distinct scored row.

    Raises:
        OutputError: The output was written by another program.
    """
    done = Done(max_attempts)
    for row in _rows(files.rollouts, done):
        if done.note_rollout(row, files.rollouts):
            observe(row)
    for row in _rows(files.failures, done):
        done.note_failure(row)
        observe_failure(row)
    return done


def _rows(path: Path, done: Done) -> Iterator[Row]:
    for row in read_rows(path) if path.exists() else ():
        if row is None:
            done.malformed += 1
        else:
            yield row
