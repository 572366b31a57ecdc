"""The files of one output, all named after it, and how whole files are replaced without ever being torn."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import OutputError


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """Paths derived from `+output_jsonl_fpath=X.jsonl`.

    Attributes:
        rollouts: `X.jsonl`, one line per scored rollout, in completion order.
    """

    rollouts: Path

    @property
    def failures(self) -> Path:
        """`X_failures.jsonl`, the sidecar: one line per failed attempt."""
        return self._beside("_failures.jsonl")

    @property
    def metrics(self) -> Path:
        """`X_aggregate_metrics.json`."""
        return self._beside("_aggregate_metrics.json")

    @property
    def manifest(self) -> Path:
        """`X_run.json`: what was asked, versions, counts, timings."""
        return self._beside("_run.json")

    def all(self) -> tuple[Path, ...]:
        """Every file of the output."""
        return self.rollouts, self.failures, self.metrics, self.manifest

    def _beside(self, suffix: str) -> Path:
        return self.rollouts.with_name(self.rollouts.stem + suffix)


_FOR_PEOPLE = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as indented JSON; a reader sees the old file or the new one, never half of it.

    Raises:
        OutputError: The file cannot be written; the old one is still there.
    """
    with replacing(path) as file:
        file.write(orjson.dumps(value, option=_FOR_PEOPLE))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, in a folder that is made, which takes the place of `path` when the block ends well.

    Raises:
        OutputError: The file cannot be written; the old one is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except BaseException as error:  # also an interruption must leave no half of a file behind
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        raise


def read_rows(path: Path) -> Iterator[Json | None]:
    """Yield the rows of a JSONL file, one at a time; None stands for a line that is no JSON object."""
    with path.open("rb") as file:
        for line in file:
            yield parse_row(line)


def parse_row(line: bytes | bytearray) -> Json | None:
    """The row of a line, None if it is no JSON object."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
