"""An author's endpoint as bytes in, bytes out: what both a served route and a near client call.

FastAPI's own path costs several times what the endpoint does. An endpoint whose arguments are no more than a
request and a body (`PlainCall`) needs none of it; every other one stays FastAPI's.
"""

import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import orjson
from fastapi import HTTPException, params
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nemo_gym_lite.clients import Json
from nemo_gym_lite.serving.failures import ECHO

REPLY_HEADER = b"x-ng-reply"
DELTA = b"delta"
"""Value of `x-ng-reply` that asks for a reply without the echo of the request."""

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
        hints = get_type_hints(endpoint)
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

    async def __call__(self, scope: Scope, body: bytes) -> Any:
        """Validate `body` and call the endpoint, in a thread if it can block.

        Args:
            scope: ASGI scope of the request, with its `session`.
            body: JSON.

        Raises:
            RequestValidationError: `body` is not what the endpoint takes.
        """
        arguments: dict[str, Any] = {}
        if self.request_name is not None:
            arguments[self.request_name] = Request(scope, replay(body))
        if self.body_name is not None and self.body_type is not None:
            arguments[self.body_name] = _read(self.body_type, body)
        if self.blocking:
            return await run_in_threadpool(self.endpoint, **arguments)
        return await self.endpoint(**arguments)

    def dump(self, result: Any, *, delta: bool = False) -> bytes:
        """`result` as JSON, as FastAPI writes it; with `delta`, without the echo of the request."""
        exclude: Any = ECHO if delta else None
        if self.reply_type is None:
            return to_json(result, by_alias=True, exclude=exclude, inf_nan_mode="null")
        if not (isinstance(self.reply_class, type) and isinstance(result, self.reply_class)):
            result = self.reply_type.validate_python(result, from_attributes=True)
        return self.reply_type.dump_json(result, by_alias=True, exclude=exclude)


class PlainRoute(APIRoute):
    """A route that goes straight from body to endpoint to reply where the endpoint allows it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.call = PlainCall.of(endpoint, self.response_model) if self._is_ordinary() else None
        self._careful: ASGIApp = self.app
        if self.call is not None:
            self.app = self._serve

    def _is_ordinary(self) -> bool:
        response_class = getattr(self.response_class, "value", self.response_class)
        filters = (
            self.response_model_include,
            self.response_model_exclude,
            self.response_model_exclude_unset,
            self.response_model_exclude_defaults,
            self.response_model_exclude_none,
        )
        ordinary = response_class is JSONResponse and self.status_code in (None, 200)
        return (
            ordinary
            and self.methods == {"POST"}
            and "{" not in self.path
            and not (any(filters) or self.dependencies)
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self.call
        is_json, delta = _look_at(scope["headers"])
        if call is None or not is_json:
            await self._careful(scope, receive, send)
            return
        body = await read_body(receive)
        result = await call(scope, body)
        if isinstance(result, Response):
            await result(scope, receive, send)
            return
        payload = call.dump(result, delta=delta)
        await send_json(send, payload)


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


def replay(body: bytes) -> Receive:
    """A `receive` that gives `body` once more, for an author who reads the request himself."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def send_json(send: Send, payload: bytes, status: int = 200) -> None:
    """Send a whole JSON reply."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(payload))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


async def call_app(app: Callable[..., Awaitable[None]], scope: Scope, body: bytes) -> tuple[int, bytes]:
    """Call an ASGI app in this process; returns status and body."""
    status, parts = 500, []

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await app(scope, replay(body), send)
    return status, b"".join(parts)


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


def _read(body_type: TypeAdapter[Any], body: bytes) -> Any:
    try:
        return body_type.validate_json(body)
    except ValidationError:
        return _read_carefully(body_type, body)


def _read_carefully(body_type: TypeAdapter[Any], body: bytes) -> Any:
    """Read in FastAPI's two steps, whose errors callers know."""
    try:
        value = json.loads(body)
    except json.JSONDecodeError as error:
        details = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error"}
        raise RequestValidationError(
            [{**details, "input": {}, "ctx": {"error": error.msg}}], body=error.doc
        ) from error
    except UnicodeDecodeError as error:
        raise HTTPException(400, "There was an error parsing the body") from error
    try:
        return body_type.validate_python(value)
    except ValidationError as error:
        details_list = [{**e, "loc": ("body", *e["loc"])} for e in error.errors(include_url=False)]
        raise RequestValidationError(details_list, body=value) from error


def wants_delta(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the reply should leave out the echo of the request."""
    return (REPLY_HEADER, DELTA) in headers


def _look_at(headers: list[tuple[bytes, bytes]]) -> tuple[bool, bool]:
    """Whether the body is JSON, and whether the reply should leave out the echo."""
    is_json = delta = False
    for name, value in headers:
        if name == b"content-type":
            is_json = value.startswith(b"application/json")
        elif name == REPLY_HEADER:
            delta = value == DELTA
    return is_json, delta


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
            raise RequestValidationError(
                [{"type": "missing", "loc": loc, "msg": "Field required", "input": value}]
            )
        value = value[name]
