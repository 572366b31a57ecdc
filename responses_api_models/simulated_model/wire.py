"""Replies as bytes on the line, the broken ones included."""

import socket
import struct

import orjson
from aiohttp import web

from nemo_gym_lite.clients import Json
from responses_api_models.simulated_model.refusals import invalid_body

JSON, STREAM = "application/json", "text/event-stream"


async def read_json(request: web.BaseRequest) -> Json:
    """The request's body, of any size.

    Raises:
        EndpointError: It is no JSON object; holds vLLM's reply.
    """
    return parse_json(await request.content.read())


def parse_json(content: bytes) -> Json:
    """A body as a JSON object.

    Raises:
        EndpointError: It is none; holds vLLM's reply.
    """
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise invalid_body(f"body.{error.pos}", "json_invalid", "JSON decode error") from error
    if not isinstance(body, dict):
        raise invalid_body("body", "model_attributes_type", "Input should be a valid dictionary")
    return body


def json_reply(content: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON reply."""
    return bytes_reply(orjson.dumps(content), status, headers)


def bytes_reply(
    body: bytes, status: int = 200, headers: dict[str, str] | None = None, media_type: str = JSON
) -> web.Response:
    """A reply whose body is JSON already, or says so, or is a stream of events."""
    return web.Response(body=body, status=status, headers=headers, content_type=media_type)


def reset(request: web.BaseRequest) -> web.Response:
    """Cut the connection with a TCP reset; the returned reply goes nowhere."""
    if request.transport is not None:
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


def half_body(request: web.BaseRequest, content: bytes) -> web.Response:
    """Promise the whole body, send half of it, close; the returned reply goes nowhere."""
    if request.transport is not None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        request.transport.write(head.encode() + content[: len(content) // 2])
        request.transport.close()
    return web.Response()
