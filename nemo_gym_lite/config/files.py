"""Reads YAML files, follows their `config_paths`, and finds `env.yaml`."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.directives import normalise_directives
from nemo_gym_lite.config.merging import merge
from nemo_gym_lite.config.roots import find, locations
from nemo_gym_lite.errors import ConfigError, ConfigPathNotFoundError, MalformedConfigPathsError

log = logging.getLogger(__name__)

ENVIRONMENT_FILE = "env.yaml"


_UNNAMED = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:binary")
"""Tags of scalars that cannot be keys."""


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """YAML as OmegaConf reads it: no dates, `1e-3` is a number, a key given twice is an error."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag in _UNNAMED:
                raise yaml.MarkedYAMLError(problem="this is no key", problem_mark=key_node.start_mark)
            key = (key_node.tag, key_node.value)
            if key in seen and key_node.tag != "tag:yaml.org,2002:merge":
                problem = f"key `{key_node.value}` is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.\d+(?:[eE][-+]?\d+)?)$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> Json:
    """Read one YAML file whose top level is a mapping; an empty file is an empty mapping.

    Raises:
        ConfigError: The file cannot be read, is no YAML (with line and column), or is no mapping.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        begin = error.context_mark
        context = f", {error.context} that begins in line {begin.line + 1}" if begin and error.context else ""
        raise ConfigError(f"{place}: {error.problem}{context}", "correct the YAML there") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "it must be a readable UTF-8 text file") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):  # its content is not shown: it may be a secret with a typo before it
        kind = "a list" if isinstance(tree, list) else "a single value"
        raise ConfigError(
            f"{path} holds {kind}, not a mapping", "write `name: value` lines, with a space after each colon"
        )
    if unnamed := [key for key in tree if not isinstance(key, str)]:
        raise ConfigError(f"{path} has the key {unnamed[0]!r}, which is not text", "put the key in quotes")
    return tree


def listed_paths(value: Any, origin: str) -> list[str]:
    """Return `config_paths` as a list; a string may name several files, separated by commas.

    Raises:
        MalformedConfigPathsError: `value` is neither a string nor a list of strings.
    """
    if isinstance(value, str):
        value = value.split(",")
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(path, str) for path in value):
        raise MalformedConfigPathsError(
            f"config_paths of {origin} is {value!r}, not a list of paths", "write `+config_paths=[a.yaml,b.yaml]`"
        )
    return [path.strip() for path in value if path.strip()]


@dataclass(slots=True)
class ConfigFiles:
    """Files of `config_paths`, merged: an includer wins over what it includes, of two siblings the later."""

    tree: Json = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    _begun: set[Path] = field(default_factory=set)

    def add(self, paths: Sequence[str], origin: str) -> None:
        """Merge `paths` in this order over what is there; a file that came before is not loaded again.

        Raises:
            ConfigPathNotFoundError: One of them exists in no search root.
        """
        for text in paths:
            path = find(text)
            if path is None or not path.is_file():
                searched = "\n".join(f"  {place}" for place in locations(text))
                raise ConfigPathNotFoundError(
                    f"config file `{text}` of {origin} was not found; searched\n{searched}",
                    "check the spelling, or run from the folder that the path starts in",
                )
            path = path.resolve()
            if path in self._begun:
                log.info("config file %s is listed twice; it is loaded once", path)
                continue
            self._begun.add(path)
            tree = normalise_directives(read_yaml(path))
            self.add(listed_paths(tree.pop("config_paths", None), str(path)), str(path))
            self.tree = merge(self.tree, tree)
            self.paths.append(path)


def read_environment() -> Json:
    """Read `env.yaml` from the first search root that has one; empty where none has."""
    path = find(ENVIRONMENT_FILE)
    return dict(normalise_directives(read_yaml(path))) if path else {}
