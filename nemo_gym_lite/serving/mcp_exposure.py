"""What `expose_tools_over_mcp: true` adds to an environment's app: `/mcp`, a token for each session, bare tool names.

An agent that has tools only over MCP (a command-line harness, say) gets with the reply of `/seed_session` where they
are and a signed token that ties its calls to the session. A call is played as the POST that any other agent makes.
"""

import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from itsdangerous import BadSignature, URLSafeSerializer
from pydantic import BaseModel
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.serving.app import PlainRoute
from nemo_gym_lite.serving.asgi import AppReply, read_body, replay, reply_of
from nemo_gym_lite.serving.calls import json_bytes
from nemo_gym_lite.serving.mcp_tools import tools_of
from nemo_gym_lite.serving.middleware import SESSION_ID_KEY, run_secret

NEMO_GYM_MCP_METADATA_KEY = "mcp"
NEMO_GYM_MCP_SESSION_TOKEN_HEADER = "X-NeMo-Gym-Session-Token"  # noqa: S105 - a header name

_PATH = "/mcp"
_PREFIX = "mcp__"


class MCPServerMetadata(BaseModel):
    """Where a session's tools are, in the reply of `/seed_session`."""

    server_name: str
    url_path: str = _PATH
    transport: str = "http"
    headers: dict[str, str]


class Tokens:
    """Signs sessions for agents, and reads them back.

    Args:
        server: Name that tells this server from others of the run, which share its secret.
    """

    def __init__(self, server: str) -> None:
        self._serializer = URLSafeSerializer(run_secret(), salt=f"mcp-session:{server}")

    def sign(self, session_id: str, tools: list[str] | None) -> str:
        """A token for a session, which may call `tools` only, or all if None."""
        token: str = self._serializer.dumps({"session_id": session_id, "tools": tools})
        return token

    def read(self, token: str | None) -> Json | None:
        """`session_id` and `tools` of a token; None if there is none or it is not ours."""
        try:
            claims: Json = self._serializer.loads(token or "")
        except BadSignature:
            return None
        return claims


def bare_tool_name(name: str, server: str) -> str:
    """The name of a tool without what harnesses put before it: `mcp__weather__get_weather` → `get_weather`."""
    if not name.startswith(_PREFIX):
        return name
    own = f"{_PREFIX}{server}__"
    return name.removeprefix(own) if name.startswith(own) else name.split("__", 2)[-1]


def expose_tools(server: Any, app: FastAPI) -> None:
    """Add MCP to an environment's finished app.

    Raises:
        ConfigError: The package `mcp` is missing, or the app does not allow it.
    """
    name = server.config.name
    if any(getattr(route, "path", None) == _PATH for route in app.routes):
        raise ConfigError(f"{name}.expose_tools_over_mcp: it has a route {_PATH} of its own", "remove one of the two")
    try:
        module = import_module("nemo_gym_lite.serving.mcp_endpoint")
    except ImportError as error:
        raise ConfigError(
            f"{name}.expose_tools_over_mcp: the package `mcp`, 2.0 or newer, is needed: {error}",
            "pip install 'nemo-gym-lite[mcp]', or remove the key; other agents call tools without it",
        ) from error
    tokens = Tokens(server.get_session_middleware_key())
    endpoint = module.McpEndpoint(name, app, tools_of(server, app), tokens)
    _wrap(name, app, "/seed_session", lambda inner: _Seed(inner, server, tokens))
    _wrap(name, app, "/verify", lambda inner: _Verify(inner, server))
    # before all others, as a catch-all would take them; with and without a slash at the end
    app.router.routes[:0] = [Route(_PATH, endpoint, include_in_schema=False), Mount(_PATH, app=endpoint)]
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def with_endpoint(app: FastAPI) -> Any:
        async with endpoint.running(), lifespan(app) as state:
            yield state

    app.router.lifespan_context = with_endpoint


def _wrap(name: str, app: FastAPI, path: str, wrapper: Callable[[ASGIApp], ASGIApp]) -> None:
    """Put something around a route, whatever its endpoint takes and replies."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.path == path:
            if isinstance(route, PlainRoute):
                route.plain = None  # nobody may go past the wrapper
            route.app = wrapper(route.app)
            return
    raise ConfigError(f"{name}.expose_tools_over_mcp: it has no route {path}", "remove the key")


class _Seed:
    """`/seed_session`, whose reply also says where the session's tools are."""

    def __init__(self, app: ASGIApp, server: Any, tokens: Tokens) -> None:
        self._app, self._server, self._tokens = app, server, tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        reply = await reply_of(self._app, scope, body)
        seeded = _object(reply.body) if reply.status == 200 else None
        if seeded is not None and NEMO_GYM_MCP_METADATA_KEY not in seeded:
            allowed = self._server.mcp_allowed_tools_for_session(_object(body) or {})
            token = self._tokens.sign(scope["session"][SESSION_ID_KEY], allowed)
            headers = {NEMO_GYM_MCP_SESSION_TOKEN_HEADER: token}
            metadata = MCPServerMetadata(server_name=self._server.config.name, headers=headers)
            seeded[NEMO_GYM_MCP_METADATA_KEY] = metadata.model_dump()
            reply = reply._replace(body=json_bytes(seeded))
        await _send(send, reply)


class _Verify:
    """`/verify`, which scores calls made over MCP by the names that tasks know, and echoes them as they were made."""

    def __init__(self, app: ASGIApp, server: Any) -> None:
        self._app, self._server = app, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        row = _object(body) if _PREFIX.encode() in body else None
        if row is None:
            await self._app(scope, replay(body), send)
            return
        made: dict[str, str] = {}
        for call in _calls(row):
            made[call.get("call_id", "")] = call["name"]
            call["name"] = self._server.normalize_tool_name(call["name"])
        reply = await reply_of(self._app, scope, json_bytes(row))
        verdict = _object(reply.body)
        if verdict is not None and (echoed := _calls(verdict)):
            for call in echoed:
                call["name"] = made.get(call.get("call_id", ""), call["name"])
            reply = reply._replace(body=json_bytes(verdict))
        await _send(send, reply)


def _calls(row: Json) -> list[Json]:
    response = row.get("response")
    output = response.get("output") if isinstance(response, dict) else None
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    return [item for item in items if item.get("type") == "function_call" and isinstance(item.get("name"), str)]


def _object(body: bytes) -> Json | None:
    try:
        value: Any = json.loads(body)  # which keeps integers of any size
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


async def _send(send: Send, reply: AppReply) -> None:
    headers = [(name, value) for name, value in reply.headers if name != b"content-length"]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
