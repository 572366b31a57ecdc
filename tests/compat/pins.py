"""Compares live objects with what surface.yaml says of them; every function returns what is wrong, in words."""

import dataclasses
import enum
import inspect
from importlib import import_module

from pydantic import BaseModel, TypeAdapter, ValidationError


def found(path):
    """The object that `module.name` leads to."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def faults(thing, pin):
    """Everything in which an object is not as pinned."""
    for key, wanted in (pin or {}).items():
        yield from CHECKS[key](thing, wanted)


def calls_wrongly(thing, wanted):
    """What callers of a function may not do although the pin says so."""
    if wanted.startswith("async ") != inspect.iscoroutinefunction(thing):
        yield "it is async" if inspect.iscoroutinefunction(thing) else "it is not async"
    pinned = inspect.signature(eval(f"lambda {wanted.removeprefix('async ')[1:-1]}: None")).parameters
    actual = inspect.signature(thing)
    actual = actual.replace(parameters=[each for name, each in actual.parameters.items() if name != "self"])
    for arguments, keywords in _ways_to_call(pinned.values()):
        try:
            bound = actual.bind(*arguments, **keywords).arguments
        except TypeError as error:
            yield f"it cannot be called with {arguments} and {[*keywords]}: {error}"
        else:
            yield from (
                f"called with {arguments} it takes `{value}` for `{name}`"
                for name, value in bound.items()
                if isinstance(value, str) and value != name and pinned[value].kind is not pinned[value].POSITIONAL_ONLY
            )
    for name, each in pinned.items():
        default = actual.parameters[name].default if name in actual.parameters else each.default
        if each.default not in (each.empty, ...) and default != each.default:
            yield f"`{name}` is {default!r} by default, not {each.default!r}"


def _ways_to_call(pinned):
    """Values by position and by name, each value the name of its parameter: all of them, the least, all by position."""
    first = [each.name for each in pinned if each.kind is each.POSITIONAL_ONLY]
    named = [each for each in pinned if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    more = {"anything": 1} if any(each.kind is each.VAR_KEYWORD for each in pinned) else {}
    yield first, {each.name: each.name for each in named} | more
    yield first, {each.name: each.name for each in named if each.default is each.empty}
    in_order = [each.name for each in named if each.kind is each.POSITIONAL_OR_KEYWORD]
    yield [*first, *in_order], {each.name: each.name for each in named if each.kind is each.KEYWORD_ONLY}


def fields_wrongly(thing, wanted):
    """Fields that are missing, or required where they should not be, or have another default."""
    actual = _fields(thing)
    for name, default in wanted.items():
        if name not in actual:
            yield f"it has no field `{name}`"
        elif default != "given" and (actual[name] != default or type(actual[name]) is not type(default)):
            yield f"field `{name}` is {actual[name]!r} by default, not {default!r}"


def _fields(thing):
    if dataclasses.is_dataclass(thing):
        return {each.name: _plain(_default(each)) for each in dataclasses.fields(thing)}
    found = {}
    for name, field in thing.model_fields.items():
        found[name] = "required" if field.is_required() else _plain(field.get_default(call_default_factory=True))
    return found


def _default(field):
    if field.default is not dataclasses.MISSING:
        return field.default
    return "required" if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(value):
    if isinstance(value, enum.Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def treats_unknown_fields_wrongly(thing, wanted):
    """Whether unknown fields are ignored, kept or refused otherwise than pinned."""
    actual = thing.model_config.get("extra") or "ignore"
    if actual != wanted:
        yield f"fields that it does not know are treated by the rule {actual!r}, not {wanted!r}"


def derives_wrongly(thing, wanted):
    """Base classes that it lacks."""
    for path in wanted:
        if not issubclass(thing, found(path)):
            yield f"it does not derive from {path}"


def methods_wrongly(thing, wanted):
    """Methods that are missing or cannot be called as pinned."""
    for name, call in wanted.items():
        method = getattr(thing, name, None)
        if not callable(method):
            yield f"it has no method `{name}`"
        elif call:
            yield from (f"{name}: {fault}" for fault in calls_wrongly(method, call))


def lacks_attributes(thing, wanted):
    """Attributes that it lacks."""
    yield from (f"it has no `{name}`" for name in wanted if not hasattr(thing, name))


def members_wrongly(thing, wanted):
    """Members of an enum that are missing or have another value."""
    for name, value in wanted.items():
        if name not in thing.__members__ or thing[name].value != value:
            yield f"it has no member {name} = {value!r}"


def has_another_value(thing, wanted):
    """A constant's value."""
    actual = sorted(thing) if isinstance(wanted, list) else thing
    if actual != wanted or not isinstance(thing, type(wanted) if isinstance(wanted, str) else object):
        yield f"it is {thing!r}, not {wanted!r}"


def is_another_object(thing, wanted):
    """Identity with an object of another module."""
    if thing is not found(wanted):
        yield f"it is not the object {wanted}"


def refuses_good_data(thing, wanted):
    """Data that should validate and does not."""
    for data in wanted:
        try:
            _validator(thing).validate_python(data)
        except ValidationError as error:
            yield f"it refuses {data}: {error.errors()[0]['msg']}"


def accepts_bad_data(thing, wanted):
    """Data that should not validate and does."""
    for data in wanted:
        try:
            _validator(thing).validate_python(data)
        except ValidationError:
            continue
        yield f"it accepts {data}"


def _validator(thing):
    if isinstance(thing, type) and issubclass(thing, BaseModel):
        thing.model_rebuild()
    return TypeAdapter(thing)


CHECKS = {
    "call": calls_wrongly,
    "fields": fields_wrongly,
    "extra": treats_unknown_fields_wrongly,
    "under": derives_wrongly,
    "methods": methods_wrongly,
    "attributes": lacks_attributes,
    "members": members_wrongly,
    "value": has_another_value,
    "same_as": is_another_object,
    "accepts": refuses_good_data,
    "refuses": accepts_bad_data,
}
