"""Virtual environments for servers that must not share packages with others, built once and kept.

An environment holds what the server's folder asks for. Everything else, this package included, it sees where it is
installed already: a path file leads there, after the environment's own packages. It is found again by the hash of
what was asked, so that an unchanged folder starts at once.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import sys
import sysconfig
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nemo_gym_lite.config.requirements import Requirements, own_bounds, requirements_of
from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.errors import ConfigError

_FINISHED = ".finished"
"""A file in an environment that is complete; one without it was left unfinished and is built anew."""

_LAST_LINES = 12
_LOCK_PAUSE_S = 0.2

Show = Callable[[str], None]


async def isolated_interpreters(
    servers: Iterable[ServerInstance], tree: Mapping[str, Any], show: Show
) -> dict[str, str]:
    """Build the environments that are not there yet, all at once.

    Args:
        servers: Those to be started; the ones that are not isolated are passed over.
        tree: The configuration, for where environments are kept.
        show: Gets lines about what is built.

    Returns:
        Path of the Python that runs a server, by instance name.

    Raises:
        ConfigError: `uv` is not installed, or could not build one; holds its last lines.
    """
    wanted: dict[Path, tuple[Requirements, list[str]]] = {}
    for server in servers:
        asked = requirements_of(server) if server.isolated else None
        if asked is not None:
            folder = environments_folder(tree) / f"{server.implementation}-{_digest([*asked.lines, *own_bounds()])}"
            wanted.setdefault(folder, (asked, []))[1].append(server.name)
    try:
        async with asyncio.TaskGroup() as builds:
            for folder, (asked, names) in wanted.items():
                builds.create_task(_ensure(folder, asked, names, show))
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
    return {name: str(_python_of(folder)) for folder, (_, names) in wanted.items() for name in names}


def environments_folder(tree: Mapping[str, Any]) -> Path:
    """Where environments are kept: `uv_venv_dir`, else the user's cache."""
    if configured := tree.get("uv_venv_dir"):
        return Path(str(configured)).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "nemo_gym_lite", "environments").absolute()


def _python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def _digest(lines: Iterable[str]) -> str:
    text = "\n".join([*lines, sys.version, sys.prefix])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


async def _ensure(folder: Path, asked: Requirements, names: list[str], show: Show) -> None:
    title = ", ".join(names)
    async with _locked(folder.with_name(f"{folder.name}.lock"), title, show):
        if (folder / _FINISHED).is_file():
            return
        began = time.monotonic()
        uv = _uv()
        count = "1 requirement" if len(asked.lines) == 1 else f"{len(asked.lines)} requirements"
        show(f"({title}) installing {count} of {asked.file}")
        shutil.rmtree(folder, ignore_errors=True)
        await _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], asked, title)
        bounds = folder / "bounds.txt"
        bounds.write_text("\n".join(own_bounds()))
        install = [uv, "pip", "install", "--python", str(_python_of(folder)), "-c", str(bounds), "-r", "-"]
        await _run(install, asked, title)
        _lead_home(folder)
        (folder / _FINISHED).touch()
        show(f"({title}) its environment is ready after {time.monotonic() - began:.1f} s: {folder}")


def _lead_home(folder: Path) -> None:
    """Let the environment see what is installed here, behind its own packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    lines = [f"import site; site.addsitedir({path!r})\n" for path in ours]
    (folder / "lib" / version / "site-packages" / "nemo_gym_lite.pth").write_text("".join(lines))


@asynccontextmanager
async def _locked(path: Path, title: str, show: Show) -> AsyncIterator[None]:
    """Hold a lock file, since two runs may want the same environment at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = False
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    show(f"({title}) waiting for another run that builds the same environment")
                told = True
                await asyncio.sleep(_LOCK_PAUSE_S)
        yield


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    if found := str(beside) if beside.is_file() else shutil.which("uv"):
        return found
    raise ConfigError(
        "isolate: uv, which builds virtual environments, is not installed", 'pip install "nemo-gym-lite[isolate]"'
    )


async def _run(command: list[str], asked: Requirements, title: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=asked.file.parent,  # where its relative paths lead from
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("".join(f"{line}\n" for line in asked.lines).encode())
        process.stdin.close()
        last = deque([line async for line in process.stdout], maxlen=_LAST_LINES)
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        said = "".join(f"  {line.decode(errors='replace').rstrip()}\n" for line in last).rstrip()
        raise ConfigError(
            f"server {title}: what {asked.file} asks for cannot be installed (uv ended with code {code})\n{said}",
            "correct the file, or leave `isolate` out and install into this environment",
        )
