"""Search roots: where relative paths of configs, data and server folders are looked for, in which order."""

import os
from pathlib import Path

INSTALL_ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds `nemo_gym_lite/`, `resources_servers/` and `responses_api_models/`."""

EXTRA_ROOTS_VARIABLE = "NEMO_GYM_EXTRA_ROOTS"
"""Environment variable with more roots, separated as in PATH; they come before all others."""


def search_roots() -> tuple[Path, ...]:
    """Return the extra roots, the working directory and the install root, each once."""
    extra = [Path(text).absolute() for text in os.environ.get(EXTRA_ROOTS_VARIABLE, "").split(os.pathsep) if text]
    return tuple(dict.fromkeys([*extra, Path.cwd(), INSTALL_ROOT]))


def locations(path: str | Path) -> tuple[Path, ...]:
    """Return every place where `path` is looked for, best first; an absolute path has only itself."""
    path = Path(path).expanduser()
    return (path,) if path.is_absolute() else tuple(root / path for root in search_roots())


def find(path: str | Path) -> Path | None:
    """Return the first existing location of a file or folder, or None."""
    return next((place for place in locations(path) if place.exists()), None)
