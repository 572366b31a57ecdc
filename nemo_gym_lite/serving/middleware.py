"""Pure ASGI middleware of every server: session cookies, JSON errors, rollout prefixes."""

import logging
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
from itsdangerous import BadSignature, TimestampSigner
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.serving.asgi import send_json
from nemo_gym_lite.serving.client import close_http
from nemo_gym_lite.serving.failures import error_body, status_of
from nemo_gym_lite.serving.run_files import SECRET_FILE_VARIABLE

SESSION_ID_KEY = "session_id"

_MAX_AGE_S = 14 * 24 * 3600
_log = logging.getLogger(__name__)


@cache
def run_secret() -> str:
    """The run's random secret; a server outside a run makes its own."""
    path = os.environ.get(SECRET_FILE_VARIABLE)
    return Path(path).read_text().strip() if path else secrets.token_hex(32)


class SessionMiddleware:
    """Gives every request a `session` with a `session_id`, kept in a signed cookie that every reply sets.

    The format is starlette's. A caller in the same process may hand its session in as `scope["session"]`.
    """

    def __init__(self, app: ASGIApp, cookie: str, secret: str) -> None:
        self._app = app
        self._name = f"{cookie}=".encode()
        self._attributes = f"; path=/; Max-Age={_MAX_AGE_S}; httponly; samesite=lax".encode()
        self._signer = TimestampSigner(secret)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or "session" in scope:
            await self._app(scope, receive, send)
            return
        session = scope["session"] = self._read(scope["headers"])
        if SESSION_ID_KEY not in session:
            session[SESSION_ID_KEY] = str(uuid4())

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"set-cookie", self._write(session))]
            await send(message)

        await self._app(scope, receive, send_with_cookie)

    def _read(self, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        """The session of the request's cookie; empty if there is none or it is not ours."""
        for key, value in headers:
            if key != b"cookie":
                continue
            for pair in value.split(b";"):
                if (pair := pair.strip()).startswith(self._name):
                    return self._unsign(pair[len(self._name) :])
        return {}

    def _unsign(self, signed: bytes) -> dict[str, Any]:
        try:
            session = orjson.loads(b64decode(self._signer.unsign(signed, max_age=_MAX_AGE_S)))
        except (BadSignature, ValueError):
            return {}
        return session if isinstance(session, dict) else {}

    def _write(self, session: dict[str, Any]) -> bytes:
        signed: bytes = self._signer.sign(b64encode(orjson.dumps(session)))
        return self._name + signed + self._attributes


class JsonErrorMiddleware:
    """Turns an exception into a JSON reply: a failed call keeps its class, anything else is a 500."""

    def __init__(self, app: ASGIApp, server: str, release: Callable[[], Awaitable[None]] = close_http) -> None:
        self._app = app
        self._server = server
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; when the server stops, release what it holds: connections, processes."""
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                await self._release()
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:  # whatever an author's code raises must reach the caller as JSON
            if started:
                raise
            status, body = self._explain(error)
            await send_json(send, body, status)

    def _explain(self, error: Exception) -> tuple[int, bytes]:
        if isinstance(error, FailedCallError):
            return status_of(error), error_body(error)
        _log.error("%s failed", self._server, exc_info=error)
        if isinstance(error, aiohttp.ClientResponseError) and hasattr(error, "response_content"):
            text = f"Hit an exception in {self._server} calling an inner server: {error.response_content!r}"
            return 500, orjson.dumps(text)
        return 500, orjson.dumps(repr(error))
