"""The command line's `+a.b=1`, `++a=[x,y]`, `a=1` and `~a`: Hydra's grammar, without Hydra's application."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.merging import merge
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError

_KINDS: dict[str, Literal["add", "set", "delete"]] = {"+": "add", "++": "add", "": "set", "~": "delete"}

_SHAPE = re.compile(r"(?P<sign>\+{0,2}|~)(?P<key>\w[\w-]*(?:\.[\w-]+)*)(?:=(?P<value>.*))?", re.DOTALL)

_STRUCTURE = ("[", "{", "'", '"')
"""How a value begins that is a list, a mapping or quoted, and nothing else."""


@dataclass(frozen=True, slots=True)
class Override:
    """One token of the command line.

    Attributes:
        kind: `add` also replaces; `set` wants the key to be there; `delete` takes it away.
        path: The dotted key in parts.
    """

    token: str
    kind: Literal["add", "set", "delete"]
    path: tuple[str, ...]
    value: Any = None

    @property
    def key(self) -> str:
        """The dotted key."""
        return ".".join(self.path)


def parse_overrides(argv: Sequence[str]) -> list[Override]:
    """Parse the tokens of a command line.

    Raises:
        ConfigError: A token is no override.
    """
    parser = OverridesParser.create()
    return [_parse(parser, token) for token in argv if token.strip()]


def _parse(parser: OverridesParser, token: str) -> Override:
    shape = _SHAPE.fullmatch(token)
    if shape is None or (shape["value"] is None and shape["sign"] != "~"):
        raise ConfigError(
            f"`{token}` on the command line is no override",
            "options are written `+key=value`; `--help` lists them",
        )
    kind, path = _KINDS[shape["sign"]], tuple(shape["key"].split("."))
    if kind == "delete":
        return Override(token, kind, path)
    try:
        parsed = parser.parse_overrides([token])[0]
        value = shape["value"] if parsed.is_sweep_override() else parsed.value()  # `a,b` is a string, no sweep
    except HydraException as error:
        if shape["value"].lstrip().startswith(_STRUCTURE):
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"`{token}` on the command line is malformed: {reason}",
                "close brackets and quotes; put the whole option in single quotes to keep the shell off it",
            ) from None
        value = shape["value"]  # a file name such as `temp=0.3.jsonl`, which Hydra's grammar would have quoted
    return Override(token, kind, path, value)


def apply_overrides(tree: Json, overrides: Iterable[Override], may_set: Callable[[str], bool]) -> None:
    """Change `tree` in place.

    Args:
        tree: The merged files.
        overrides: In the order of the command line; the last one wins.
        may_set: Whether `key=value` without `+` may add this top-level key.

    Raises:
        ConfigError: A key to be set or deleted is not there, or its parent is no mapping.
    """
    for override in overrides:
        *parents, last = override.path
        node = tree
        for depth, part in enumerate(parents):
            child = node.get(part)
            if child is None and override.kind != "delete":
                if override.kind == "set" and not may_set(override.path[0]):
                    raise _absent(override, node, part)
                child = node[part] = {}
            if not isinstance(child, dict):
                place = ".".join(override.path[: depth + 1])
                raise ConfigError(
                    f"`{override.token}`: `{place}` is {child!r}, not a mapping", "set the mapping itself"
                )
            node = child
        _change(node, last, override, may_set)


def _change(node: Json, last: str, override: Override, may_set: Callable[[str], bool]) -> None:
    if override.kind != "add" and last not in node and not (override.kind == "set" and may_set(override.path[0])):
        raise _absent(override, node, last)
    if override.kind == "delete":
        del node[last]
    elif isinstance(override.value, dict) and isinstance(node.get(last), dict):
        node[last] = merge(node[last], override.value)
    else:
        node[last] = override.value


def _absent(override: Override, node: Json, part: str) -> ConfigError:
    otherwise = f"to add it, write `+{override.token}`" if override.kind == "set" else "there is nothing to delete"
    return ConfigError(
        f"`{override.token}`: the configuration has no key `{override.key}`",
        did_you_mean(part, node, otherwise),
    )
