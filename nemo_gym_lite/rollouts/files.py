"""The files of one output, all named after it, and how whole files are replaced without ever being torn."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

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
    replace_file(path, orjson.dumps(value, option=_FOR_PEOPLE))


def replace_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content` through a temporary file beside it.

    Raises:
        OutputError: The file cannot be written; the old one is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
