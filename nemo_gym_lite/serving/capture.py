"""Writes down what a served model is asked and answers, for the rollouts that a request's path names."""

import asyncio
import logging
import time
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nemo_gym_lite.clients import Json
from nemo_gym_lite.model_calls import CaptureStore
from nemo_gym_lite.rollout_correlation import current_rollout_id
from nemo_gym_lite.rollouts.files import parse_row
from nemo_gym_lite.serving.asgi import read_body

_DIALECTS = {"/v1/responses": "responses", "/v1/chat/completions": "chat", "/v1/messages": "messages"}
_CATEGORIES = {408: "timeout", 504: "timeout", 429: "rate_limit", 401: "auth", 403: "auth", 404: "not_found"}
_log = logging.getLogger(__name__)


class CaptureMiddleware:
    """Captures calls; it stands inside of `RolloutContextMiddleware` and changes nothing that passes.

    Args:
        app: What answers.
        store: Where calls go.
        server: The model server's name.
    """

    def __init__(self, app: ASGIApp, store: CaptureStore, server: str) -> None:
        self._app = app
        self._store = store
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        rollout_id = current_rollout_id()
        dialect = _DIALECTS.get(scope["path"]) if scope["type"] == "http" else None
        if rollout_id is None or dialect is None:
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        call = _Call(send)
        try:
            await self._app(scope, _once_more(body, receive), call.send)
        finally:
            exchange = {"dialect": dialect, "model_ref": {"type": "responses_api_models", "name": self._server}}
            await asyncio.shield(asyncio.to_thread(self._keep, rollout_id, {**exchange, **call.facts(body)}))

    def _keep(self, rollout_id: str, exchange: Json) -> None:
        try:
            self._store.record(rollout_id, exchange)
        except OSError:
            _log.exception("a model call of rollout %s could not be captured", rollout_id)


class _Call:
    """Watches one reply pass."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began_s, self._began_at = time.monotonic(), time.time()
        self._first_s: float | None = None
        self._status: int | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif message["type"] == "http.response.body":
            self._first_s = self._first_s or time.monotonic()
            self._body += message.get("body", b"")
        await self._send(message)

    def facts(self, request: bytes) -> Json:
        reply, status = parse_row(self._body), self._status
        failed = status is None or status >= 400
        category = _CATEGORIES.get(status or 0) or ("client_error" if status and status < 500 else "upstream_error")
        return {
            "model_call_id": uuid4().hex,
            "status_code": status,
            "started_at": self._began_at,
            "completed_at": time.time(),
            "latency_total_ms": 1000 * (time.monotonic() - self._began_s),
            "latency_ttft_ms": None if self._first_s is None else 1000 * (self._first_s - self._began_s),
            "request": parse_row(request),
            "response": reply,
            "response_raw": self._body.decode(errors="replace") if reply is None else None,
            "error_category": category if failed else None,
        }


def _once_more(body: bytes, receive: Receive) -> Receive:
    """A `receive` that begins with the body again, and then tells when the caller goes."""
    waiting = [body]

    async def first_the_body() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return first_the_body
