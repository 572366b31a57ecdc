"""The few verbs of ASGI that a route without a framework needs."""

import re
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nemo_gym_lite.clients import Json

REPLY_HEADER = b"x-ng-reply"
DELTA = b"delta"
"""Value of `x-ng-reply` that asks for a reply without the echo of the request."""

PLAYED = b"played"
"""Value of `x-ng-reply` that asks an agent for what it adds to the row, its `response` among it."""


DEADLINE_HEADER = b"x-ng-deadline-s"
"""Header with the seconds that a caller grants a check, from the check's start."""


def post_scope(app: ASGIApp, path: str, headers: list[tuple[bytes, bytes]], session: Json) -> Scope:
    """The scope of a POST to an app in this process, in a session that a cookie would name otherwise."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "session": session,
        "app": app,
    }


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
    await send_bytes(send, payload, b"application/json", status)


async def send_bytes(send: Send, payload: bytes, media_type: bytes, status: int = 200) -> None:
    """Send a whole reply."""
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(payload))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


class AppReply(NamedTuple):
    """A whole reply of an app."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def reply_of(app: ASGIApp, scope: Scope, body: bytes, receive: Receive | None = None) -> AppReply:
    """Call an ASGI app in this process, with `body` once and again unless `receive` gives it otherwise."""
    status, headers, parts = 500, [], []

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive or replay(body), send)
    return AppReply(status, headers, b"".join(parts))


async def call_app(app: ASGIApp, scope: Scope, body: bytes) -> tuple[int, bytes]:
    """Call an ASGI app in this process; returns status and body."""
    reply = await reply_of(app, scope, body)
    return reply.status, reply.body


def wants_delta(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the reply should leave out the echo of the request."""
    return (REPLY_HEADER, DELTA) in headers


def wants_played(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether an agent should reply what it adds to the row, and no more."""
    return (REPLY_HEADER, PLAYED) in headers


def deadline_of(headers: list[tuple[bytes, bytes]]) -> float | None:
    """The seconds that the caller grants; None if it does not say."""
    text = next((value for name, value in headers if name == DEADLINE_HEADER), b"")
    return float(text) if re.fullmatch(rb"\d{1,9}(\.\d{1,9})?", text) and float(text) else None
