"""Holds a value to a JSON schema (draft 2020-12), and closes a schema so that nothing may be missing or added.

`format` is a remark, as the standard says, and not checked; references lead within the schema and nowhere else.
"""

import functools
from collections.abc import Mapping
from typing import Any

import orjson
from jsonschema import Draft202012Validator, SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

MAX_SHOWN_CHARS = 200
"""Of a message about what is wrong with a value."""

Schema = dict[str, Any] | bool

_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "prefixItems")
_SINGLES = ("items", "contains")


@functools.lru_cache(maxsize=256)
def validator_of(schema_str: str, *, strict: bool) -> Draft202012Validator:
    """Return what checks values against a schema.

    Args:
        schema_str: The schema as JSON.
        strict: Whether each property that an object names is required, and no others are allowed.

    Raises:
        ValueError: It is no JSON, or no schema.
    """
    schema = orjson.loads(schema_str)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"{error.json_path} of the schema: {shown(error.message)}") from error
    return Draft202012Validator(closed(schema) if strict else schema, registry=Registry())


def complaint(value: Any, validator: Draft202012Validator) -> str:
    """Say what is wrong with a value, and where in it; empty if it satisfies the schema.

    Raises:
        ValueError: The schema refers to what is not in it.
    """
    try:
        error = next(validator.iter_errors(value), None)
    except Unresolvable as unresolvable:
        raise ValueError(f"the schema refers to what is not in it: {shown(str(unresolvable))}") from unresolvable
    except RecursionError:
        return "nested too deeply"
    return f"{error.json_path}: {shown(error.message)}" if error else ""


def wrong_value(value: Any, expected: Mapping[str, Any]) -> str:
    """Say which expected property an object has not, or with another value; empty if it has all of them."""
    consts = {name: {"const": wanted} for name, wanted in expected.items()}
    schema = {"type": "object", "properties": consts, "required": list(expected)}
    return complaint(value, Draft202012Validator(schema))


def closed(schema: Schema) -> Schema:
    """Return a copy in which objects must have all properties that they name, and no others.

    Inside `allOf`, `not` and conditions nothing changes: there an object is named only in part.
    """
    if isinstance(schema, bool):
        return schema
    made = dict(schema)
    for word in _MAPS:
        if word in schema:
            made[word] = {name: closed(part) for name, part in schema[word].items()}
    for word in _LISTS:
        if word in schema:
            made[word] = [closed(part) for part in schema[word]]
    for word in _SINGLES:
        if word in schema:
            made[word] = closed(schema[word])
    if "properties" in schema:
        made |= {"required": list(schema["properties"]), "additionalProperties": False}
    return made


def shown(message: str) -> str:
    """As much of a message as a row should carry."""
    return message if len(message) <= MAX_SHOWN_CHARS else f"{message[:MAX_SHOWN_CHARS]}..."
