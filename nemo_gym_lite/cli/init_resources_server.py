"""`ng_init_resources_server`: a new environment that runs, and whose tests pass, before a line is changed."""

import re
import sys
from collections.abc import Sequence
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Annotated

from pydantic import BaseModel, Field

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.errors import ConfigError, OutputError

TEMPLATES = Path(__file__).parents[1] / "scaffold"

_PARENT = "resources_servers"


class InitOptions(BaseModel, frozen=True, extra="forbid"):
    """Write a new environment into the working directory: server, configuration, data, README and tests."""

    entrypoint: Annotated[Path, Field(description="folder to make, for instance resources_servers/my_environment")]


@command("ng_init_resources_server", InitOptions)
def main(argv: Sequence[str]) -> int:
    """Write the folder; returns the exit code."""
    options = compose(argv, InitOptions, needs_servers=False, environment={}).options
    name = new_name(options.entrypoint)
    try:
        for path in write_environment(options.entrypoint, name):
            print(path)
    except OSError as error:
        raise OutputError(f"cannot write {options.entrypoint}: {error.strerror}") from error
    print(f"\ntest it:  ng_test +entrypoint={options.entrypoint}")
    print(f"play it:  see {options.entrypoint / 'README.md'}")
    return EXIT_OK


def new_name(folder: Path) -> str:
    """The name of the environment that a folder is to hold.

    Raises:
        ConfigError: It is no folder of `resources_servers/`, its name is no module's, or it is there already.
    """
    if folder.is_absolute() or folder.parts[:-1] != (_PARENT,):
        raise ConfigError(f"entrypoint: {folder} is not {_PARENT}/NAME", f"write +entrypoint={_PARENT}/my_environment")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", folder.name) or iskeyword(folder.name):
        raise ConfigError(
            f"entrypoint: {folder.name!r} cannot be imported",
            "begin with a small letter, use small letters, digits and underscores, and no word of Python's own",
        )
    if taken := find(folder):
        raise ConfigError(f"entrypoint: {taken} is there already", "choose another name")
    return folder.name


def write_environment(folder: Path, name: str) -> list[Path]:
    """Write the files of an environment and return their paths.

    Args:
        folder: Where to.
        name: The environment's name, `like_this`.
    """
    words = {"name": name, "title": "".join(word.capitalize() for word in name.split("_"))}
    targets = {
        "app.py": "app.py",
        "config.yaml": f"configs/{name}.yaml",
        "example.jsonl": "data/example.jsonl",
        "README.md": "README.md",
        "test_app.py": "tests/test_app.py",
    }
    written = []
    for source, target in targets.items():
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (TEMPLATES / f"{source}.template").read_text(encoding="utf-8")
        path.write_text(Template(text).substitute(words), encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    sys.exit(main())
