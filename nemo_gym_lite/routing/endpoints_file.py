"""Endpoints in a file that is looked at while a run is going, so that servers can join and leave."""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.routing.base_urls import base_urls

LOOK_EVERY_S = 1.0
"""The file's time is looked at so often, by a call that happens to come along."""

logger = logging.getLogger(__name__)


class EndpointsFile:
    """Base URLs, one in each line, with or without the dash of a YAML list; `#` begins a comment.

    A file that is not there, or cannot be understood, changes nothing: endpoints stay what they are.

    Args:
        path: The file.

    Attributes:
        next_look_s: Clock time, in seconds, from which `look` is worth a call.
    """

    def __init__(self, path: Path) -> None:
        self.next_look_s = 0.0
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def listen(self) -> None:
        """Look again at once after a SIGHUP, for file systems that show a change late. Main thread only, else nothing
        happens."""
        if threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(signal.SIGHUP)

        def reload(number: int, frame: FrameType | None) -> None:
            self.next_look_s, self._seen = 0.0, None
            if callable(previous):  # another model's file
                previous(number, frame)

        signal.signal(signal.SIGHUP, reload)

    def look(self, now_s: float) -> list[str] | None:
        """The base URLs if the file has changed since the last look, else None."""
        self.next_look_s = now_s + LOOK_EVERY_S
        try:
            facts = self._path.stat()
            seen = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
            if seen == self._seen:
                return None
            self._seen = seen
            return read_endpoints(self._path)
        except FileNotFoundError:
            return None
        except (OSError, ConfigError) as error:
            logger.warning("endpoints stay as they are: %s: %s", self._path, error)
            return None


def read_endpoints(path: Path) -> list[str]:
    """The base URLs in a file.

    Raises:
        ConfigError: There is none, or one is no HTTP URL.
    """
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return base_urls([part.strip("'\" ") for line in lines for part in line.removeprefix("- ").split(",")])
