"""A command's own options: their names and aliases, their values in the tree, and the text of `--help`."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

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
    known = [name.rpartition(".")[2] for name, _, _ in _described(options)]
    return did_you_mean(str(unknown), known, "`--help` lists the options and their types")


def help_text(command: str, options: type[BaseModel]) -> str:
    """Return what `--help` prints: the command's purpose, and type, default and meaning of every option."""
    lines = [f"usage: {command} [+key=value ...]", "", (options.__doc__ or "").strip(), "", "options:"]
    for name, field, kind in _described(options):
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
        aliases = [alias for alias in _aliases(field) if alias != name]
        lines.append(f"  +{name}=  ({kind}, {default.replace('None', 'null')})")
        text = (field.description or "").strip() + (f" Also +{', +'.join(aliases)}." if aliases else "")
        lines += [f"      {line.strip()}" for line in text.splitlines()]
    return "\n".join(
        [
            *lines,
            "",
            "Values: numbers, true, false, null, [lists], {mappings: too}, 'text'. The last one wins.",
        ]
    )


def _described(options: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo, str]]:
    for name, field in options.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _described(kind, f"{prefix}{name}.")
        else:
            yield (
                prefix + name,
                field,
                kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", ""),
            )
