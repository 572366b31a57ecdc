"""What a server's folder asks to be installed beside it, and what of it is missing here."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from nemo_gym_lite.config.blocks import Block
from nemo_gym_lite.config.roots import INSTALL_ROOT, find
from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.errors import ConfigError

REQUIREMENTS_FILE = "requirements.txt"
PROJECT_FILE = "pyproject.toml"

_OURS = re.compile(r"^(-e\s+)?(nemo[-_.]gym([-_.]lite)?)\b", re.IGNORECASE)
"""Lines that ask for the toolkit itself, which is there: `nemo-gym[dev]==0.5.1`, `-e nemo-gym[dev] @ ../../`."""

_INCLUDE = re.compile(r"^(?:-r|--requirement)[\s=]+(.+)$")
_COMMENT = re.compile(r"(^|\s)#.*$")

_FOR_THE_INSTALLER = re.compile(r"^[-.~$]|[/\\]|\.(whl|zip|gz)\b")
"""Lines that name no package: options, paths, links."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What one folder asks for.

    Attributes:
        file: The file that says so.
        lines: What an installer is given, without the lines that ask for the toolkit itself.
        named: Those of the lines that name a package, parsed.
    """

    file: Path
    lines: tuple[str, ...]
    named: tuple[Requirement, ...] = field(default=())

    def missing(self) -> list[Requirement]:
        """What is not installed here at all."""
        return [each for each in self.named if installed_version(each) is None]

    def other_versions(self) -> list[str]:
        """What is installed here in a version other than asked, in words."""
        return [
            f"{each} ({found} is installed)"
            for each in self.named
            if (found := installed_version(each)) and not each.specifier.contains(found, prereleases=True)
        ]


def installed_version(requirement: Requirement) -> str | None:
    """The version of a package here, None if it is not installed."""
    try:
        return version(requirement.name)
    except PackageNotFoundError:
        return None


def read_requirements(folder: Path) -> Requirements | None:
    """Read what a server's folder asks for; None if it asks for nothing but the toolkit.

    Raises:
        ConfigError: The folder has both kinds of file, or one that cannot be read.
    """
    plain, project = folder / REQUIREMENTS_FILE, folder / PROJECT_FILE
    if plain.is_file() and project.is_file():
        raise ConfigError(
            f"{folder} has {REQUIREMENTS_FILE} and {PROJECT_FILE}; which of them holds is not clear", "keep one of them"
        )
    if plain.is_file():
        found = Requirements(plain, tuple(_lines_of(plain, ())))
    elif project.is_file():
        found = Requirements(project, tuple(_project_lines(project)))
    else:
        return None
    if not found.lines:
        return None
    return Requirements(found.file, found.lines, tuple(_named(found.lines, found.file)))


def check_requirements(servers: Iterable[ServerInstance]) -> list[str]:
    """Check that what the servers' folders ask for is installed; those with an environment of their own are left out.

    Returns:
        A line for each package that is here in another version than asked.

    Raises:
        ConfigError: Packages are missing; the message lists them by server, and the hint is the command to run.
    """
    faults: list[str] = []
    needed: dict[str, None] = {}
    notes: list[str] = []
    for server in servers:
        asked = None if server.isolated else requirements_of(server)
        if asked is None:
            continue
        if missing := asked.missing():
            faults.append(f"  {server.name}: {', '.join(map(str, missing))} ({asked.file})")
            needed |= dict.fromkeys(f"'{each}'" for each in missing)
        notes += [f"server {server.name!r} asks for {each}" for each in asked.other_versions()]
    if faults:
        raise ConfigError(
            "servers need packages that are not installed\n" + "\n".join(faults),
            f"pip install {' '.join(needed)}\nor let each such server have its own environment: +isolate=true",
        )
    return notes


def requirements_of(server: ServerInstance) -> Requirements | None:
    """What a server asks for; parts of this package ask for nothing.

    Raises:
        ConfigError: Its folder has both kinds of file, or one that cannot be read.
    """
    folder = server.entrypoint.parent
    return None if folder.is_relative_to(INSTALL_ROOT / "nemo_gym_lite") else read_requirements(folder)


@cache
def own_bounds() -> tuple[str, ...]:
    """What this package and those below it ask of the packages that they need.

    Whoever installs before ours on the path keeps to that: math-verify alone would bring an antlr4 that OmegaConf
    cannot be imported with. Exact pins are left out: such two come together, and may be replaced together.
    """
    bounds: set[str] = set()
    seen, waiting = set[str](), ["nemo-gym-lite"]
    while waiting:
        for each in _needed_by(waiting.pop()):
            bounds |= {f"{each.name}{one}" for one in each.specifier if one.operator != "==" or "*" in one.version}
            if each.name not in seen:
                seen.add(each.name)
                waiting.append(each.name)
    return tuple(sorted(bounds))


def _needed_by(package: str) -> Iterator[Requirement]:
    """What an installed package needs on this machine without its extras; nothing if it is not installed."""
    try:
        lines = requires(package) or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _lines_of(file: Path, including: Sequence[Path]) -> Iterator[str]:
    """The lines of a requirements file and of those that it includes."""
    if file in including:
        raise ConfigError(f"{file} includes itself", "remove one of the `-r` lines")
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        named_by = f"; {including[-1]} includes it" if including else ""
        raise ConfigError(f"{file} cannot be read: {error}{named_by}") from error
    for raw in text.replace("\\\n", " ").splitlines():
        line = _COMMENT.sub("", raw).strip()
        if include := _INCLUDE.match(line):
            yield from _lines_of(file.parent / include[1].strip(), (*including, file))
        elif line and not _OURS.match(line):
            yield line


def _project_lines(file: Path) -> Iterator[str]:
    try:
        project: Any = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    dependencies = project.get("project", {}).get("dependencies", [])
    return (line for line in map(str, dependencies) if not _OURS.match(line))


def _named(lines: Iterable[str], file: Path) -> Iterator[Requirement]:
    """Requirements that apply to this machine; paths, links and options of the installer are not looked into."""
    for line in lines:
        try:
            requirement = Requirement(line.partition(" --")[0])  # without options of its own, such as --hash
        except InvalidRequirement as error:
            if _FOR_THE_INSTALLER.search(line):
                continue
            fault = str(error).splitlines()[0]
            raise ConfigError(f"{file}: `{line}` is no requirement: {fault}", "write it as for pip") from None
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def isolate_all(blocks: Iterable[Block]) -> None:
    """Give every server that asks for packages an environment of its own, unless its block says otherwise.

    Raises:
        ConfigError: A folder has both kinds of file, or one that cannot be read.
    """
    for block in blocks:
        folder = find(Path(block.server_type, block.implementation))
        if folder is not None and read_requirements(folder) is not None:
            block.config.setdefault("isolate", True)
