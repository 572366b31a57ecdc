"""The few verbs of ASGI that a route without a framework needs."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

REPLY_HEADER = b"x-ng-reply"
DELTA = b"delta"
"""Value of `x-ng-reply` that asks for a reply without the echo of the request."""


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


async def call_app(app: ASGIApp, scope: Scope, body: bytes) -> tuple[int, bytes]:
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


def wants_delta(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the reply should leave out the echo of the request."""
    return (REPLY_HEADER, DELTA) in headers
