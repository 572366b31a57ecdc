"""The command line's `+a.b=1`, `++a=[x,y]`, `a=1` and `~a`: Hydra's grammar, without Hydra's application."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.merging import merge
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError

_KINDS: dict[OverrideType, Literal["add", "set", "delete"]] = {
    OverrideType.ADD: "add",
    OverrideType.FORCE_ADD: "add",
    OverrideType.CHANGE: "set",
    OverrideType.DEL: "delete",
}


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
    return [_parse(parser, token) for token in argv]


def _parse(parser: OverridesParser, token: str) -> Override:
    if token.startswith("-"):
        raise ConfigError(f"unknown flag `{token}`", "options are written `+key=value`; `--help` lists them")
    try:
        parsed = parser.parse_overrides([token])[0]
        value = parsed.value()
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"`{token}` on the command line is no override: {reason}",
            "write `+key=value`, or `'+key=\"value\"'` where the value has spaces or special characters",
        ) from None
    if parsed.is_sweep_override():  # `a,b` means a sweep to Hydra; here it is a comma-separated string
        value = token.split("=", 1)[1]
    return Override(token, _KINDS[parsed.type], tuple(parsed.key_or_group.split(".")), value)


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
    if (
        override.kind != "add"
        and last not in node
        and not (override.kind == "set" and may_set(override.path[0]))
    ):
        raise _absent(override, node, last)
    if override.kind == "delete":
        del node[last]
    elif isinstance(override.value, dict) and isinstance(node.get(last), dict):
        node[last] = merge(node[last], override.value)
    else:
        node[last] = override.value


def _absent(override: Override, node: Json, part: str) -> ConfigError:
    otherwise = (
        f"to add it, write `+{override.token}`" if override.kind == "set" else "there is nothing to delete"
    )
    return ConfigError(
        f"`{override.token}`: the configuration has no key `{override.key}`",
        did_you_mean(part, node, otherwise),
    )
