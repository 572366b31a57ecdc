"""`_inherit_from` moves a node, `_copy` copies one, `_delete_key` drops keys: once, after the full merge."""

import re
from copy import deepcopy
from typing import Any

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.merging import MISSING, merge
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError, InheritPathNotFoundError

_SHORT_FORM = re.compile(r"^\$\{(inherit_from|copy):([^${}]+)\}$")
_SHORT_NAMES = {"inherit_from": "_inherit_from", "copy": "_copy"}


def normalise_directives(node: Any) -> Any:
    """Write `${inherit_from:path}` and `${copy:path}` as mappings, so that later files can add keys."""
    if isinstance(node, dict):
        return {key: normalise_directives(value) for key, value in node.items()}
    if isinstance(node, list):
        return [normalise_directives(item) for item in node]
    if isinstance(node, str) and (match := _SHORT_FORM.match(node)):
        return {_SHORT_NAMES[match[1]]: match[2].strip()}
    return node


def apply_directives(tree: Json) -> Json:
    """Return the tree with every directive carried out.

    Raises:
        InheritPathNotFoundError: A directive names a path that is not in the tree.
        ConfigError: Directives form a circle, or delete a key that is not there.
    """
    work = _Directives(tree)
    result: Json = work.expand(tree, "", ())
    for path in dict.fromkeys(work.moved):
        _remove(result, path.split("."))
    return result


class _Directives:
    """One pass over a tree, which stays as it is: nodes are taken from it and expanded where they land."""

    def __init__(self, tree: Json) -> None:
        self.tree = tree
        self.moved: list[str] = []

    def expand(self, node: Any, place: str, chain: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [self.expand(item, f"{place}[{index}]", chain) for index, item in enumerate(node)]
        if not isinstance(node, dict):
            return deepcopy(node)
        own = {key: value for key, value in node.items() if key not in {"_inherit_from", "_copy", "_delete_key"}}
        unwanted = _names(node.get("_delete_key"), place)
        known = set(own)
        own = {key: value for key, value in own.items() if key not in unwanted}
        expanded = {
            key: self.expand(value, f"{place}.{key}" if place else str(key), chain) for key, value in own.items()
        }
        for directive in ("_copy", "_inherit_from"):
            if directive in node:
                base = self._fetch(directive, node[directive], place, chain)
                known |= set(base) if isinstance(base, dict) else set()
                if not isinstance(base, dict):
                    return self._only_alone(base, expanded, directive, place)
                expanded = merge(base, expanded)
        for key in unwanted:
            if key not in known:
                hint = did_you_mean(key, known, f"the keys there are {', '.join(map(str, known))}")
                raise ConfigError(f"_delete_key of `{place}` names `{key}`, which is not there", hint)
            expanded.pop(key, None)
        return expanded

    def _fetch(self, directive: str, path: Any, place: str, chain: tuple[str, ...]) -> Any:
        if not isinstance(path, str):
            raise ConfigError(f"{directive} of `{place}` is {path!r}, not a dotted path", "write a.b.c")
        if path in chain or place == path or place.startswith(path + "."):
            raise ConfigError(f"{directive} of `{place}` leads in a circle: {' → '.join([*chain, path])}", "cut it")
        found = self.tree
        for part in path.split("."):
            inside = found if isinstance(found, dict) else {}
            if part not in inside:
                hint = did_you_mean(part, map(str, inside), "the path is counted from the top of the merged files")
                raise InheritPathNotFoundError(f"{directive} of `{place}` names `{path}`, which is not there", hint)
            found = inside[part]
        if directive == "_inherit_from":
            self.moved.append(path)
        return self.expand(found, path, (*chain, path))

    @staticmethod
    def _only_alone(base: Any, expanded: Json, directive: str, place: str) -> Any:
        if expanded and base != MISSING:
            raise ConfigError(
                f"{directive} of `{place}` names {base!r}, to which no keys can be added", "name a mapping instead"
            )
        return base


def _names(value: Any, place: str) -> list[str]:
    names = value.split(",") if isinstance(value, str) else value
    if names is not None and not isinstance(names, list):
        raise ConfigError(f"_delete_key of `{place}` is {value!r}, not a list of keys", "write `_delete_key: a, b`")
    return [str(name).strip() for name in names or []]


def _remove(tree: Json, path: list[str]) -> None:
    """Take a moved node away; its parent may have been moved before it."""
    *parents, last = path
    node: Any = tree
    for part in parents:
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.pop(last, None)
