"""The app of a server: FastAPI to authors, and a straight way for the routes that need no more than that."""

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from nemo_gym_lite.rollout_correlation import RolloutContextMiddleware
from nemo_gym_lite.serving.asgi import DELTA, REPLY_HEADER, read_body, replay, send_json
from nemo_gym_lite.serving.calls import PlainCall
from nemo_gym_lite.serving.metrics_page import MetricsMiddleware
from nemo_gym_lite.serving.middleware import JsonErrorMiddleware, SessionMiddleware

_OWN_MIDDLEWARE: tuple[Any, ...] = (SessionMiddleware, RolloutContextMiddleware, JsonErrorMiddleware, MetricsMiddleware)


class PlainRoute(APIRoute):
    """A route that goes straight from body to endpoint to reply where the endpoint allows it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        _build(self.body_field)
        self.plain = PlainCall.of(endpoint, self.response_model) if self._is_ordinary() else None
        self._careful: ASGIApp = self.app
        if self.plain is not None:
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
            ordinary and self.methods == {"POST"} and "{" not in self.path and not (any(filters) or self.dependencies)
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.serve(scope, receive, send, self._careful)

    async def serve(self, scope: Scope, receive: Receive, send: Send, otherwise: ASGIApp) -> None:
        """Answer one request directly, or leave it to `otherwise` where FastAPI has more to say."""
        plain = self.plain
        is_json, delta = _look_at(scope["headers"])
        if plain is None or not is_json:
            await otherwise(scope, receive, send)
            return
        body = await read_body(receive)
        arguments = plain.arguments(scope, body)
        if arguments is None:
            await otherwise(scope, replay(body), send)
            return
        result = await plain.call(arguments)
        if isinstance(result, Response):
            await result(scope, receive, send)
        else:
            await send_json(send, plain.dump(result, delta=delta))


class ServerApp(FastAPI):
    """An app that finds its plain routes by their path, without asking every other route first.

    They pass the app's middleware and exception handlers as all others do.
    """

    def __init__(self, *, title: str = "", **options: Any) -> None:
        super().__init__(title=title or "server", **options)  # tests of environments leave the name empty
        self.router.route_class = PlainRoute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self.plain_routes:
            scope["app"] = self
            await self._straight(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    @cached_property
    def plain_routes(self) -> dict[str, PlainRoute]:
        """Routes that can be called directly, by path: no other route comes first, nobody looks on.

        Fixed at the first request, as the middleware of any app.
        """
        routes: dict[str, PlainRoute] = {}
        watched = any(middleware.cls not in _OWN_MIDDLEWARE for middleware in self.user_middleware)
        if watched:
            return routes
        for route in self.routes:
            path = getattr(route, "path", "{")
            if "{" in path:  # it may match any later route's path
                break
            if isinstance(route, PlainRoute) and route.plain is not None:
                routes.setdefault(path, route)
        return routes

    @cached_property
    def _straight(self) -> ASGIApp:
        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            await self.plain_routes[scope["path"]].serve(scope, receive, send, super(ServerApp, self).__call__)

        handlers = dict(self.exception_handlers)
        last_resort: Any = None
        for key in (500, Exception):
            last_resort = handlers.pop(key, last_resort)
        app: Any = ExceptionMiddleware(dispatch, handlers=handlers, debug=self.debug)
        for cls, args, kwargs in reversed(self.user_middleware):
            app = cls(app, *args, **kwargs)
        return ServerErrorMiddleware(app, handler=last_resort, debug=self.debug)


def _look_at(headers: list[tuple[bytes, bytes]]) -> tuple[bool, bool]:
    """Whether the body is JSON, and whether the reply should leave out the echo."""
    is_json = delta = False
    for name, value in headers:
        if name == b"content-type":
            is_json = value.startswith(b"application/json")
        elif name == REPLY_HEADER:
            delta = value == DELTA
    return is_json, delta


def _build(field: Any) -> None:
    """Build the validator of a body whose class defers it; FastAPI silences the warnings of building only here."""
    adapter: TypeAdapter[Any] | None = getattr(field, "_type_adapter", None)
    if adapter is not None and not adapter.pydantic_complete:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapter.rebuild(raise_errors=False)
