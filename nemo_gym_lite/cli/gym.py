"""`gym GROUP VERB --flag value +key=value`: the other spelling of every command, translated and handed on."""

import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nemo_gym_lite.cli.common import EXIT_OK, asks_for_help, run_command
from nemo_gym_lite.cli.help import overview
from nemo_gym_lite.cli.spellings import NOT_HERE, OF_EVERY_COMMAND, SPELLINGS, Flag, Spelling
from nemo_gym_lite.config.roots import EXTRA_ROOTS_VARIABLE
from nemo_gym_lite.config.selectors import SELECTORS, selected_config
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError

_SEARCH_DIR = "--search-dir"
_GROUPS = {name.split()[0] for name in SPELLINGS} - SPELLINGS.keys()
_PLAIN_PATH = re.compile(r"[\w./-]+")


def gym(argv: Sequence[str]) -> int:
    """Run the command that a `gym` command line spells; returns its exit code."""
    leading = next((at for at, token in enumerate(argv) if token not in {"-v", "--verbose", "--json"}), len(argv))
    before, rest = argv[:leading], list(argv[leading:])
    if rest[:1] == ["--version"]:
        rest[0] = "version"
    if not rest or rest[0] in {"-h", "--help"}:
        print(overview())
        return EXIT_OK
    if rest[0] in _GROUPS and rest[1:] in ([], ["-h"], ["--help"]):
        print(overview(rest[0]))
        return EXIT_OK
    name, rest = split_command(rest)
    spelling = SPELLINGS[name]
    module: Any = importlib.import_module(f"nemo_gym_lite.cli.{spelling.command}")
    script = f"ng_{spelling.command}"
    if asks_for_help(rest):
        print(f"`gym {name}` is `{script}`{_flags_told(spelling)}\n")
        tokens = ["--help"]
    else:
        tokens = translate(spelling, [*rest, *before])
    sys.argv = [script, *tokens]  # where every command looks
    code: int = module.main()
    return code


def split_command(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Return the spelling that a command line begins with, and the rest of it.

    Raises:
        ConfigError: There is no such command.
    """
    for length in (2, 1):
        name = " ".join(argv[:length])
        if name in NOT_HERE:
            raise ConfigError(f"`gym {name}` is none of nemo_gym_lite's commands", NOT_HERE[name])
        if name in SPELLINGS:
            rest = list(argv[length:])
            variant = next(
                (each for each in SPELLINGS if each.startswith(f"{name} --") and each.split()[-1] in rest), ""
            )
            if variant:
                rest.remove(variant.split()[-1])
            return variant or name, rest
    known = [name for name in SPELLINGS if " --" not in name]
    group = [f"`gym {name}`" for name in known if name.split()[0] == argv[0]]
    what = " ".join(argv[:1] if len(argv) > 1 and argv[1].startswith("-") else argv[:2])
    otherwise = f"there are {', '.join(group)}" if group else "`gym --help` lists all commands"
    raise ConfigError(f"there is no command `gym {what}`", did_you_mean(what, known, otherwise))


def translate(spelling: Spelling, argv: Sequence[str]) -> list[str]:
    """Return the tokens of the `ng_` command: those that flags stand for, then the user's own.

    Search directories are put into this process's environment, which servers inherit.

    Raises:
        ConfigError: A flag is unknown, lacks its value, or names a configuration that is not there.
    """
    words: list[str] = []
    overrides: list[str] = []
    given: list[tuple[Flag, str]] = []
    for flag, value in _read(spelling, argv):
        if flag is None:
            (overrides if "=" in value or value.startswith(("+", "~")) else words).append(value)
        else:
            given.append((flag, value))
    _add_search_roots([value for flag, value in given if flag.name == _SEARCH_DIR])
    paths = [_config(flag, value) for flag, value in given if flag.kind == "config"]
    tokens = [*spelling.fixed, *([f"+config_paths=[{','.join(paths)}]"] if paths else [])]
    tokens += [_token(flag, value) for flag, value in given if flag.kind in {"value", "switch"}]
    if words and not spelling.word:
        raise ConfigError(f"`{words[0]}` on the command line is no flag and no override", "options are `+key=value`")
    if words:
        tokens.append(f"+{spelling.word}={' '.join(words)}")
    return [*tokens, *overrides]


def _read(spelling: Spelling, argv: Sequence[str]) -> Iterator[tuple[Flag | None, str]]:
    """Yield each flag with its value, and None with each other token."""
    known = {name: flag for flag in (*spelling.flags, *OF_EVERY_COMMAND) for name in flag.names}
    tokens = iter(argv)
    for token in tokens:
        if not token.startswith("-"):
            yield None, token
            continue
        name, sign, value = token.partition("=")
        flag = known.get(name)
        if flag is None:
            raise ConfigError(f"there is no flag `{name}` here", did_you_mean(name, known, "`--help` lists the flags"))
        if flag.kind == "switch":
            yield flag, "true"
            continue
        wanted = value if sign else next(tokens, None)
        if wanted is None:
            raise ConfigError(f"`{name}` needs a value", f"write {name} VALUE")
        yield flag, wanted


def _token(flag: Flag, value: str) -> str:
    return flag.key.format(value) if "{}" in flag.key else f"+{flag.key}={value}"


def _config(flag: Flag, value: str) -> str:
    path = selected_config(flag.name, value) if flag.name in SELECTORS else value
    if _PLAIN_PATH.fullmatch(path):
        return path
    escaped = path.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _add_search_roots(folders: Sequence[str]) -> None:
    if folders:
        before = filter(None, [os.environ.get(EXTRA_ROOTS_VARIABLE)])
        os.environ[EXTRA_ROOTS_VARIABLE] = os.pathsep.join([*(str(Path(each).absolute()) for each in folders), *before])


def _flags_told(spelling: Spelling) -> str:
    lines = [
        f"  {', '.join(flag.names)}{'' if flag.kind == 'switch' else ' VALUE'}"
        for flag in (*spelling.flags, *OF_EVERY_COMMAND)
    ]
    return "\n".join([", with these flags beside its options:", *lines])


def main() -> int:
    """Entry point of the command."""
    return run_command(lambda: gym(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
