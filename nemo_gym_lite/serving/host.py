"""A server's process: loads the server's class, runs it, and ends when the process that started it ends.

`python -P -m nemo_gym_lite.serving.host NAME...` finds all else that it needs in the environment (`run_files.py`).
With several names it serves them all. When the server cannot start, its last line of output is `CAUSE_MARK` and
the reason as JSON, for the launcher to show.
"""

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import orjson
from pydantic import ValidationError

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.interpolation import literal
from nemo_gym_lite.config.keys import SERVER_TYPES
from nemo_gym_lite.config.roots import EXTRA_ROOTS_VARIABLE
from nemo_gym_lite.config.servers import ServerInstance, load_server_class, server_instances
from nemo_gym_lite.config.wording import complaints
from nemo_gym_lite.errors import ConfigError, GymError
from nemo_gym_lite.serving.run_files import (
    CAUSE_MARK,
    CONFIG_FILE_VARIABLE,
    INSTANCE_VARIABLE,
    LIFELINE_VARIABLE,
    THEIR_CONFIG_VARIABLE,
    remove_run_files,
)
from nemo_gym_lite.serving.server import serve_together

ORPHAN_GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL when the launcher died."""


_log = logging.getLogger(__name__)


def main() -> int:
    """Run the server that the environment names; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    follow_launcher()
    folder = Path()
    try:
        instance, *others = these_instances()
        if others:
            run_together([instance, *others])
            return 0
        folder = instance.entrypoint.parent
        if (instance.config.get("num_workers") or 1) > 1:
            _log.warning("num_workers is not used: one process serves, so that sessions keep their state")
        if instance.runs_on_nemo_gym:
            _tell_nemo_gym()
        load_server_class(instance).run_webserver()
    except Exception as error:  # an author's code raises anything; the launcher tells it in one line
        tell_cause(error, folder)
        return 1
    return 0


def tell_cause(error: Exception, folder: Path) -> None:
    """Write why this process cannot start as its last line of output, for whoever started it; see `reason`."""
    message, hint = reason(error, folder)
    cause = orjson.dumps({"message": message, "hint": hint}).decode()
    sys.stdout.flush()
    sys.stderr.write(f"{CAUSE_MARK}{cause}\n")


def these_instances() -> list[ServerInstance]:
    """Return the servers of this process: those that its command line names, else the one of its environment.

    Raises:
        ConfigError: The run's configuration holds no such server.
    """
    names = sys.argv[1:] or [os.environ[INSTANCE_VARIABLE]]
    known = {instance.name: instance for instance in server_instances(_tree())}
    for name in names:
        if name not in known:
            raise ConfigError(f"the configuration holds no server {name!r}")
    return [known[name] for name in names]


def run_together(instances: Sequence[ServerInstance]) -> None:
    """Serve several servers from this process, until SIGTERM."""
    tree = _tree()
    serve_together([load_server_class(each).from_tree(tree, each.name) for each in instances])


def _tree() -> Json:
    tree: Json = orjson.loads(Path(os.environ[CONFIG_FILE_VARIABLE]).read_bytes())
    return tree


def _tell_nemo_gym() -> None:
    """Leave the configuration where NeMo Gym's own servers look for it; JSON is YAML."""
    tree = literal(_tree())
    os.environ[THEIR_CONFIG_VARIABLE] = orjson.dumps(tree).decode()


def follow_launcher() -> None:
    """Watch the launcher's pipe; its end means that the launcher is gone, however it went."""
    if LIFELINE_VARIABLE in os.environ:
        lifeline_fd = int(os.environ.pop(LIFELINE_VARIABLE))
        os.set_inheritable(lifeline_fd, False)
        threading.Thread(target=_end_with, args=(lifeline_fd,), name="lifeline", daemon=True).start()


def _end_with(lifeline_fd: int) -> None:
    os.read(lifeline_fd, 1)  # nobody writes: it returns at the end of the pipe
    remove_run_files()
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(ORPHAN_GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def reason(error: Exception, folder: Path) -> tuple[str, str]:
    """Say in one line why a server did not start.

    Args:
        error: What its code raised.
        folder: The server's folder, to point at a line of the author's own code.

    Returns:
        Message and hint.
    """
    if isinstance(error, GymError):
        return error.message, error.hint
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the module {error.name!r} is missing{_place(error, folder)}", _install_hint(error.name, folder)
    if isinstance(error, ValidationError):
        fields = "; ".join(complaints(error))
        if all(detail["loc"] == () for detail in error.errors()):  # raised by the author's code, about no field
            return f"{error.title} cannot be made: {fields}", ""
        return f"its configuration does not fit {error.title}: {fields}", "docs/reference lists keys and values"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})", ""
    return f"{type(error).__name__}: {error}{_place(error, folder)}", ""


def _install_hint(module: str, folder: Path) -> str:
    package = module.partition(".")[0]
    if package in SERVER_TYPES:
        return f"add the folder that holds {module.replace('.', '/')} to {EXTRA_ROOTS_VARIABLE}"
    if package == "nemo_gym":
        return "nemo_gym_lite has no module of that name; +use_installed_nemo_gym=true takes NeMo Gym's own"
    hint = f"pip install {package}"
    if (folder / "requirements.txt").is_file():
        hint += f"\nor all that the server asks for: pip install -r {folder / 'requirements.txt'}"
    return hint


def _place(error: Exception, folder: Path) -> str:
    """Name the deepest line of the author's code, else of any file."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder.resolve())]
    return "".join(f" ({frame.filename}:{frame.lineno})" for frame in (own or frames)[-1:])


if __name__ == "__main__":
    sys.exit(main())
