"""Reads the document that a reply consists of: JSON, YAML or TOML, as values that JSON has.

Dates of YAML and TOML become strings in ISO form. What JSON does not have otherwise is not read, nor are YAML's
aliases, a few of which can stand for more than memory holds.
"""

import tomllib
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import orjson
import yaml

MAX_DEPTH = 100
"""Deepest nesting that is read."""

_FENCE = "```"

_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is not built everywhere, and ten times faster


class SchemaType(StrEnum):
    """What the document is written in."""

    JSON = "json"
    YAML = "yaml"
    TOML = "toml"


def unfenced(text: str) -> str:
    """Return what the last fenced block of `text` holds; all of it, if there is none."""
    end = text.rfind(_FENCE)
    start = text.rfind(_FENCE, 0, max(end, 0))
    return text[start:end].partition("\n")[2] if start >= 0 else text


def read_document(text: str, kind: SchemaType) -> Any:
    """Return the value of a document.

    Raises:
        ValueError: It is not one document of this kind, or nested deeper than `MAX_DEPTH`.
    """
    try:
        value = _READERS[kind](text)
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    return value


def _read_yaml(text: str) -> Any:
    depth = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"aliases are not read: *{event.anchor}")
    return _as_json(yaml.load(text, Loader=_YamlLoader))  # noqa: S506 - either loader makes plain values only


def _read_toml(text: str) -> Any:
    return _as_json(tomllib.loads(text))


def _as_json(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, list | dict)
            for inner in (outer if isinstance(outer, list) else outer.values())
        ]
    return bool(layer)


_READERS: dict[SchemaType, Callable[[str], Any]] = {
    SchemaType.JSON: orjson.loads,
    SchemaType.YAML: _read_yaml,
    SchemaType.TOML: _read_toml,
}
