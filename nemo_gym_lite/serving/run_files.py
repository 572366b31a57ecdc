"""What a launcher and its servers agree on: variables, and files that only their owner may read."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import orjson

CONFIG_FILE_VARIABLE = "NEMO_GYM_LITE_CONFIG_FILE"
"""Environment variable: path of the resolved configuration, as JSON."""

SECRET_FILE_VARIABLE = "NEMO_GYM_LITE_SECRET_FILE"  # noqa: S105 - a path, not a secret
"""Environment variable: path of the secret that signs session cookies, as hex text."""

INSTANCE_VARIABLE = "NEMO_GYM_CONFIG_PATH"
"""Environment variable: name of the server that this process is."""

THEIR_CONFIG_VARIABLE = "NEMO_GYM_CONFIG_DICT"
"""Environment variable that NeMo Gym's own servers read: the configuration as YAML text."""


LIFELINE_VARIABLE = "NEMO_GYM_LITE_LIFELINE_FD"
"""Environment variable: number of the pipe whose end tells that the launcher died."""

WORKING_FOLDER_VARIABLE = "NEMO_GYM_LITE_WORKING_FOLDER"
"""Environment variable: the folder that the user works in; a server's own process works in that of its code."""

CAUSE_MARK = "nemo_gym_lite: cannot start: "
"""Begins the line that gives the reason as JSON: `{"message", "hint"}`."""


def write_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600 in one step; whoever reads it sees the old content or the new one.

    Raises:
        OSError: The folder does not exist or is not writable.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    unfinished.replace(path)


class RunFiles:
    """The files of one run, in a folder of their own that goes with the run.

    Secrets travel to servers this way because every user of the machine can read a command line.

    Args:
        tree: The resolved configuration with its secrets.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree
        self._folder = Path()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="nemo_gym_lite-"))  # mkdtemp: mode 0700
        content = orjson.dumps(self._tree, default=str, option=orjson.OPT_NON_STR_KEYS)
        write_private(self._folder / "config.json", content)
        write_private(self._folder / "secret", secrets.token_hex(32).encode())
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that lead a server to the files."""
        return {
            CONFIG_FILE_VARIABLE: str(self._folder / "config.json"),
            SECRET_FILE_VARIABLE: str(self._folder / "secret"),
            WORKING_FOLDER_VARIABLE: str(Path.cwd()),
        }


def remove_run_files() -> None:
    """Remove the files of this process's run, for a server whose launcher died without doing so."""
    paths = [Path(os.environ[variable]) for variable in (CONFIG_FILE_VARIABLE, SECRET_FILE_VARIABLE)]
    with suppress(OSError):  # the run's other servers do the same at this moment
        for path in paths:
            path.unlink(missing_ok=True)
        paths[0].parent.rmdir()
