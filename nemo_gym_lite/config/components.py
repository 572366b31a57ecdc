"""Folders of servers in all search roots: what can be listed, tested and named in a configuration."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nemo_gym_lite.config.roots import search_roots


@dataclass(frozen=True, slots=True)
class Component:
    """A folder that holds a server, an environment or a benchmark.

    Attributes:
        parent: The folder that it is one of, such as `resources_servers`.
        name: Its path below that, `gsm8k` or `group/task`.
        folder: Where it is.
    """

    parent: str
    name: str
    folder: Path


def components(parent: str, mark: str) -> list[Component]:
    """The folders below `parent` that hold what `mark` (say `*/app.py`) matches, by name; of one name the first search
    root's."""
    found: dict[str, Path] = {}
    for root in search_roots():
        for folder in _folders(root / parent, mark):
            found.setdefault(str(folder.relative_to(root / parent)), folder)
    return [Component(parent, name, folder) for name, folder in sorted(found.items())]


def _folders(parent: Path, mark: str) -> Iterator[Path]:
    depth = 1 if mark.startswith("*/") else 0  # `*/configs/*.yaml` marks the folder above `configs`
    for match in sorted(parent.glob(mark)):
        parts = match.relative_to(parent).parts
        yield parent.joinpath(*parts[:depth]) if depth else match.parent
