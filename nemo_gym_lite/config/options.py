"""A command's own options: their names and aliases, their values in the tree, and the text of `--help`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.wording import complaints, did_you_mean
from nemo_gym_lite.errors import ConfigError

OptionsT = TypeVar("OptionsT", bound=BaseModel)


def option_names(options: type[BaseModel]) -> dict[str, str]:
    """Map every name that the user may write (field or alias) to the one that validation takes."""
    names = {}
    for name, field in options.model_fields.items():
        accepted = _aliases(field) or [name]
        names.update(dict.fromkeys([*accepted, name], accepted[0]))
    return names


def _aliases(field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [choice for choice in choices if isinstance(choice, str)]


def canonical(layer: Mapping[str, Any], names: Mapping[str, str], origin: str) -> Json:
    """Return the layer with option aliases renamed, so that a later layer overrides whichever name it uses.

    Raises:
        ConfigError: One layer gives an option under two names with different values.
    """
    renamed: Json = {}
    for key, value in layer.items():
        name = names.get(key, key)
        if name in renamed and renamed[name] != value:
            other = next(key for key in layer if names.get(key, key) == name)
            raise ConfigError(f"{origin} gives both `{other}` and `{key}`, which are one option", "keep one of them")
        renamed[name] = value
    return renamed


def read_options(values: Mapping[str, Any], options: type[OptionsT]) -> OptionsT:
    """Validate the option values that the tree holds.

    Raises:
        ConfigError: Options are missing or have the wrong type; the message lists all of them.
    """
    try:
        return options.model_validate(dict(values))
    except ValidationError as error:
        missing = [str(detail["loc"][0]) for detail in error.errors() if detail["type"] == "missing"]
        wrong = [detail for detail in error.errors() if detail["type"] != "missing"]
        if not wrong:
            raise ConfigError(
                f"missing {'options' if len(missing) > 1 else 'option'}: {', '.join(missing)}",
                f"add {' '.join(f'+{name}=<value>' for name in missing)}",
            ) from None
        raise ConfigError("wrong options\n  " + "\n  ".join(complaints(error)), _advice(error, options)) from None


def _advice(error: ValidationError, options: type[BaseModel]) -> str:
    if any(detail["input"] == "None" for detail in error.errors()):
        return "no value is written `null`"
    unknown = next((detail["loc"][-1] for detail in error.errors() if detail["type"] == "extra_forbidden"), "")
    known = [name.rpartition(".")[2] for name, _ in _described(options)]
    return did_you_mean(str(unknown), known, "`--help` lists the options and their types")


def help_text(command: str, options: type[BaseModel]) -> str:
    """Return what `--help` prints: the command's purpose, and type, default and meaning of every option."""
    lines = [f"usage: {command} [+key=value ...]", "", (options.__doc__ or "").strip(), ""]
    lines += ["options:"] if options.model_fields else []
    for name, field in _described(options):
        text = (field.description or "").strip()
        aliases = [f"+{alias}=" for alias in _aliases(field) if alias != name and alias not in text]
        lines += [f"  +{name}=  ({_type_name(field.annotation)}, {_default(field)})"]
        lines += [f"      {line}" for line in [text, *(f"the same as {alias}" for alias in aliases)] if line]
    return "\n".join([*lines, *([""] if options.model_fields else []), _OF_EVERY_COMMAND])


_OF_EVERY_COMMAND = """\
options of every command:
  +config_paths=[FILE,...]
      YAML files of servers, merged in this order; env.yaml of the working directory is laid over them
  +head_server.port=  (whole number, default 11000)
      where `ng_run` is found
  ++NAME.KIND.IMPLEMENTATION.KEY=
      any key of the configuration, for instance ++policy_model.responses_api_models.vllm_model.routing.attempts=3

Values: numbers, true, false, null, [lists], {mappings: too}, 'text'. The last one given wins."""


def _described(options: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in options.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _described(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field


_TYPE_NAMES = {str: "text", Path: "path", int: "whole number", float: "number", bool: "true or false", dict: "mapping"}


def _type_name(kind: Any) -> str:
    """Say in words what a field's annotation admits."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _type_name(get_args(kind)[0])
    if origin is Literal:
        return " or ".join(map(str, get_args(kind)))
    if origin in {Union, UnionType}:
        return " or ".join(_type_name(part) for part in get_args(kind) if part is not type(None))
    kind = origin or kind
    return _TYPE_NAMES.get(kind, getattr(kind, "WRITTEN", getattr(kind, "__name__", str(kind))))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return f"default {default if isinstance(default, str) else json.dumps(default, default=str)}"
