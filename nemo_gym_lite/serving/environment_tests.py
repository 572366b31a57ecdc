"""How the tests of a server's folder are run: by pytest in a process of its own, from within the folder.

NeMo Gym's way is kept: the search roots are on the path, `nemo_gym` means this package, `async` tests need no mark.
Settings of this repository do not reach in; those of the folder hold.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.requirements import check_requirements
from nemo_gym_lite.config.roots import EXTRA_ROOTS_VARIABLE, INSTALL_ROOT, search_roots
from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.serving.isolation import Show, isolated_interpreters

_SETTINGS = (
    ("pytest.ini", ""),
    (".pytest.ini", ""),
    ("pyproject.toml", "[tool.pytest"),
    ("tox.ini", "[pytest]"),
    ("setup.cfg", "[tool:pytest]"),
)
"""Files that hold a folder's own settings of pytest, each with what marks them."""


_ASYNCIO = {"asyncio_mode": "auto", "asyncio_default_fixture_loop_scope": "function"}
"""What holds where the folder does not say otherwise; without the second, pytest-asyncio warns."""


@dataclass(frozen=True, slots=True)
class PytestCall:
    """What to start, where, and with which environment variables.

    Attributes:
        problem: Why it cannot be started, None if it can.
    """

    folder: Path
    command: tuple[str, ...]
    variables: dict[str, str]
    problem: ConfigError | None = None


async def pytest_calls(
    folders: Iterable[Path], tree: Mapping[str, Any], *, isolate: bool | None, use_alias: bool = True, show: Show
) -> list[PytestCall]:
    """Get ready to run the tests of some folders; environments that they want for themselves are built.

    Args:
        folders: Each holds a server.
        tree: The configuration, for where environments are kept.
        isolate: Whether each has an environment of its own; None: as its configuration says.
        use_alias: Whether `nemo_gym` means this package.
        show: Gets lines about what is built.

    Raises:
        ConfigError: pytest is not installed. What is wrong with one folder is in its call.
    """
    if find_spec("pytest") is None:
        raise ConfigError(
            "pytest, which runs environments' tests, is not installed", 'pip install "nemo-gym-lite[test]"'
        )

    async def prepare(folder: Path) -> PytestCall:
        try:
            server = _stand_in(folder, isolated=_says_isolate(folder) if isolate is None else isolate)
            check_requirements([server])
            interpreters = await isolated_interpreters([server], tree, show)
        except ConfigError as error:
            return PytestCall(folder, (), {}, error)
        return _call(folder, interpreters.get(server.name, sys.executable), use_alias=use_alias)

    return await asyncio.gather(*(prepare(folder.absolute()) for folder in folders))


def _stand_in(folder: Path, *, isolated: bool) -> ServerInstance:
    """The folder as a server, so that its requirements are looked at as before a start."""
    return ServerInstance.model_construct(
        name=f"{folder.parent.name}/{folder.name}",
        implementation=folder.name,
        entrypoint=folder / "app.py",
        config={"isolate": isolated},
    )


def _says_isolate(folder: Path) -> bool:
    """Whether a configuration of the folder has `isolate: true` in a block of its server."""
    blocks = (block for path in (folder / "configs").glob("*.yaml") for block in read_yaml(path).values())
    return any(_inside(block, folder.parent.name, folder.name, "isolate") is True for block in blocks)


def _inside(node: Any, *path: str) -> Any:
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _call(folder: Path, python: str, *, use_alias: bool) -> PytestCall:
    own = _own_settings(folder)
    command = [python, "-P", "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={folder}"]
    command += ["-p", "nemo_gym_lite.alias"] if use_alias else []
    command += ["-c", os.devnull] if own is None else []
    for name, value in _ASYNCIO.items():
        command += ["-o", f"{name}={value}"] if own is None or name not in own else []
    roots = search_roots()
    path = [*map(str, roots), str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),  # the folder last, so that none of its files hides a package
        # the working directory is another one there, and the install root is the last one everywhere
        EXTRA_ROOTS_VARIABLE: os.pathsep.join(str(root) for root in roots if root != INSTALL_ROOT),
    }
    return PytestCall(folder, tuple(command), variables)


def _own_settings(folder: Path) -> str | None:
    for name, mark in _SETTINGS:
        path = folder / name
        if path.is_file() and mark in (text := path.read_text(errors="replace")):
            return text
    return None
