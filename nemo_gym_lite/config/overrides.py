"""The command line's `+a.b=1`, `++a=[x,y]`, `a=1` and `~a`: Hydra's grammar, without Hydra's application."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.masking import MASK, is_secret, mask_secrets
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

    @property
    def shown(self) -> str:
        """The token as a message may show it: without a secret."""
        hides = any(map(is_secret, self.path)) or mask_secrets(self.value) != self.value
        return f"{self.token.partition('=')[0]}={MASK}" if hides and "=" in self.token else self.token


def parse_overrides(argv: Sequence[str]) -> list[Override]:
    """Parse the tokens of a command line.

    Raises:
        ConfigError: A token is no override.
    """
    parser = OverridesParser.create()
    for token in argv:
        try:
            token.encode()
        except UnicodeEncodeError:  # Python carries what it cannot decode as lone surrogates
            shown = token.encode(errors="surrogateescape")
            raise ConfigError(
                f"command line: {shown!r} is not UTF-8", "rename the file, or set LC_ALL=C.UTF-8"
            ) from None
    return [_parse(parser, token) for token in argv if token.strip()]


def _parse(parser: OverridesParser, token: str) -> Override:
    shape = _SHAPE.fullmatch(token)
    if shape is None or (shape["value"] is None and shape["sign"] != "~"):
        raise ConfigError(
            f"`{token}` on the command line is no override", "options are written `+key=value`; `--help` lists them"
        )
    kind, path = _KINDS[shape["sign"]], tuple(shape["key"].split("."))
    if kind == "delete":
        return Override(token, kind, path)
    try:
        parsed = parser.parse_overrides([token])[0]
        value = shape["value"] if parsed.is_sweep_override() else parsed.value()  # `a,b` is a string, no sweep
    except HydraException as error:
        if shape["value"].lstrip().startswith(_STRUCTURE):
            shown = Override(token, kind, path).shown
            reason = f": {str(error).splitlines()[0]}" if shown == token else ""
            raise ConfigError(
                f"`{shown}` on the command line is malformed{reason}",
                "close brackets and quotes; put the whole option in single quotes to keep the shell off it",
            ) from None
        value = shape["value"]  # a file name such as `temp=0.3.jsonl`, which Hydra's grammar would have quoted
    return Override(token, kind, path, value)


def apply_overrides(tree: Json, overrides: Iterable[Override], may_set: Callable[[str], bool]) -> None:
    """Change `tree` in place; the last override wins, and `may_set` says which keys `key=value` without `+` may add.

    Raises:
        ConfigError: A key to be set or deleted is not there, or its parent is no mapping.
    """
    for override in overrides:
        *parents, last = override.path
        may_add = override.kind == "add" or (override.kind == "set" and may_set(override.path[0]))
        node = tree
        for depth, part in enumerate(parents):
            if node.get(part) is None:
                _require(may_add, override, node, part)
                node[part] = {}
            if not isinstance(node[part], dict):
                place = ".".join(override.path[: depth + 1])
                message = f"`{override.shown}`: `{place}` is {mask_secrets({part: node[part]})[part]!r}, not a mapping"
                raise ConfigError(message, f"a key can only be set in a mapping; give `{place}` itself another value")
            node = node[part]
        _require(may_add or last in node, override, node, last)
        _change(node, last, override)


def _change(node: Json, last: str, override: Override) -> None:
    if override.kind == "delete":
        del node[last]
    elif isinstance(override.value, dict) and isinstance(node.get(last), dict):
        node[last] = merge(node[last], override.value)
    else:
        node[last] = override.value


def _require(is_fine: bool, override: Override, node: Json, part: str) -> None:
    if not is_fine:
        advice = f"to add it, write `+{override.shown}`" if override.kind == "set" else "there is nothing to delete"
        near = did_you_mean(part, node)
        message = f"`{override.shown}`: the configuration has no key `{override.key}`"
        raise ConfigError(message, f"{near} {advice}".strip())
