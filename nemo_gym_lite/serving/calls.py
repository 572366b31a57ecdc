"""An author's endpoint as bytes in, bytes out: what both a served route and a near client call.

FastAPI's own path costs several times what the endpoint does. An endpoint whose arguments are no more than a
request and a body (`PlainCall`) needs none of it; every other one stays FastAPI's.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_type_hints

import orjson
from anyio import to_thread
from fastapi import params
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from nemo_gym_lite.clients import Json
from nemo_gym_lite.serving.asgi import replay
from nemo_gym_lite.serving.failures import ECHO

_LIKE_FASTAPI = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_ANNOTATED: Any = object()
_DICTS = (dict, dict[str, Any])


@dataclass(frozen=True, slots=True)
class PlainCall:
    """An endpoint that takes at most a `Request` and one JSON body."""

    endpoint: Callable[..., Any]
    request_name: str | None
    body_name: str | None
    body_type: TypeAdapter[Any] | None
    reply_class: Any
    reply_type: TypeAdapter[Any] | None
    blocking: bool

    @classmethod
    def of(cls, endpoint: Callable[..., Any], reply_class: Any = _ANNOTATED) -> "PlainCall | None":
        """`endpoint` as a plain call, or None if it needs more of FastAPI.

        Args:
            endpoint: Function or bound method.
            reply_class: Type of the reply; the return annotation's if not given.
        """
        if not inspect.isroutine(endpoint) or inspect.isgeneratorfunction(endpoint):
            return None
        if inspect.isasyncgenfunction(endpoint):
            return None
        try:
            hints = get_type_hints(endpoint)
        except NameError:  # a type that only exists for type checkers
            return None
        names: dict[str, str] = {}
        body_class: Any = None
        for parameter in inspect.signature(endpoint).parameters.values():
            role = _role(parameter, hints.get(parameter.name))
            if role is None or role in names:
                return None
            names[role] = parameter.name
            body_class = hints[parameter.name] if role == "body" else body_class
        if reply_class is _ANNOTATED:
            reply_class = hints.get("return")
        return cls(
            endpoint=endpoint,
            request_name=names.get("request"),
            body_name=names.get("body"),
            body_type=TypeAdapter(body_class) if "body" in names else None,
            reply_class=reply_class,
            reply_type=_reply_type(reply_class),
            blocking=not inspect.iscoroutinefunction(endpoint),
        )

    def arguments(self, scope: Scope, body: bytes) -> dict[str, Any] | None:
        """The endpoint's arguments; None if `body` does not validate, which FastAPI explains better.

        Args:
            scope: ASGI scope of the request, with its `session`.
            body: JSON.
        """
        arguments: dict[str, Any] = {}
        if self.request_name is not None:
            arguments[self.request_name] = Request(scope, replay(body))
        if self.body_name is not None and self.body_type is not None:
            try:
                arguments[self.body_name] = self.body_type.validate_json(body)
            except ValidationError:
                return None
        return arguments

    async def call(self, arguments: dict[str, Any]) -> Any:
        """Call the endpoint, in a thread if it can block; a cancelled caller does not wait for the thread.

        Raises:
            RuntimeError: It exits, as code that a model wrote may, which must not end the whole process.
        """
        try:
            if self.blocking:
                return await to_thread.run_sync(partial(self.endpoint, **arguments), abandon_on_cancel=True)
            return await self.endpoint(**arguments)
        except SystemExit as error:
            raise RuntimeError(f"{self.endpoint.__name__} called exit({error.code!r})") from error

    def dump(self, result: Any, *, delta: bool = False) -> bytes:
        """`result` as JSON, as FastAPI writes it; with `delta`, without the echo of the request."""
        if self.reply_type is None:
            return _dump_untyped(result, delta)
        kind = self.reply_class
        if kind is not Any and not (isinstance(kind, type) and isinstance(result, kind)):
            result = self.reply_type.validate_python(result, from_attributes=True)
        exclude: Any = ECHO if delta else None
        return self.reply_type.dump_json(result, by_alias=True, exclude=exclude)


def _role(parameter: inspect.Parameter, annotation: Any) -> str | None:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        return None
    required = parameter.default is parameter.empty
    if isinstance(annotation, type) and issubclass(annotation, Request):
        return "request" if required and annotation is Request else None
    default = parameter.default
    is_body = isinstance(default, params.Body) and default.is_required() and not default.embed
    if not (required or is_body):
        return None
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return "body" if is_model or annotation in _DICTS else None


def _reply_type(reply_class: Any) -> TypeAdapter[Any] | None:
    is_response = isinstance(reply_class, type) and issubclass(reply_class, Response)
    return None if reply_class is None or is_response else TypeAdapter(reply_class)


def _dump_untyped(result: Any, delta: bool) -> bytes:
    if delta and isinstance(result, dict):
        result = {name: value for name, value in result.items() if name not in ECHO}
    elif delta and isinstance(result, BaseModel):
        result = jsonable_encoder(result, exclude=set(ECHO))
    try:
        return orjson.dumps(result, default=jsonable_encoder, option=_LIKE_FASTAPI)
    except TypeError:  # integers beyond 64 bits
        return json.dumps(jsonable_encoder(result), ensure_ascii=False, separators=(",", ":")).encode()


def json_bytes(value: Any) -> bytes:
    """`value` as JSON, integers of any size included.

    Raises:
        ValueError: A text in it is no Unicode.
    """
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits, or nesting that only the slow encoder takes
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def json_object(body: bytes) -> Json:
    """`body` as a JSON object, for a route that validates by itself.

    Raises:
        RequestValidationError: It is none.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        details = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error"}
        raise RequestValidationError([{**details, "input": {}, "ctx": {"error": error.msg}}]) from error
    if not isinstance(value, dict):
        details = {"type": "dict_type", "loc": ("body",), "msg": "Input should be a valid dictionary"}
        raise RequestValidationError([{**details, "input": value}])
    return value


def require(value: Json, *path: str) -> None:
    """Check that the object has a field, given by its path.

    Raises:
        RequestValidationError: It has not.
    """
    for depth, name in enumerate(path):
        if not isinstance(value, dict) or name not in value:
            loc = ("body", *path[: depth + 1])
            raise RequestValidationError([{"type": "missing", "loc": loc, "msg": "Field required", "input": value}])
        value = value[name]
