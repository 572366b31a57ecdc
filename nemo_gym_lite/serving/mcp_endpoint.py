"""`/mcp`, streamable HTTP without sessions of its own: lists an environment's tools and plays calls of them.

It needs the package `mcp`, so it is imported only where `expose_tools_over_mcp` is set.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import orjson
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import ASGIApp, Receive, Scope, Send

from nemo_gym_lite.clients import Json
from nemo_gym_lite.serving.asgi import AppReply, post_scope, reply_of
from nemo_gym_lite.serving.calls import json_bytes
from nemo_gym_lite.serving.mcp_exposure import NEMO_GYM_MCP_SESSION_TOKEN_HEADER, Tokens
from nemo_gym_lite.serving.mcp_tools import MCPTool
from nemo_gym_lite.serving.middleware import SESSION_ID_KEY


class McpEndpoint:
    """The ASGI app behind `/mcp`.

    Args:
        name: What the server is called.
        app: The environment's app, whose routes the tools are.
        tools: What can be called, by name.
        tokens: Reads which session a call belongs to.
    """

    def __init__(self, name: str, app: ASGIApp, tools: dict[str, MCPTool], tokens: Tokens) -> None:
        self._name, self._app, self._tools, self._tokens = name, app, tools, tokens
        self._manager: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer requests for the length of the block."""
        server: Server[Any] = Server(self._name, on_list_tools=self._list_tools, on_call_tool=self._call_tool)
        self._manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        assert self._manager is not None, "the app's lifespan has not begun"
        await self._manager.handle_request(scope, receive, send)

    async def _list_tools(self, context: Any, params: Any) -> types.ListToolsResult:
        """Those that the session may call; all if the caller does not say which session it is."""
        allowed = (self._claims(context) or {}).get("tools")
        shown = [tool for tool in self._tools.values() if allowed is None or tool.name in allowed]
        return types.ListToolsResult(
            tools=[
                types.Tool(name=tool.name, description=tool.description, input_schema=tool.input_schema)
                for tool in shown
            ]
        )

    async def _call_tool(self, context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Play a call; whatever goes wrong is the model's to read."""
        tool = self._tools.get(params.name)
        claims = self._claims(context)
        if tool is None:
            return _refusal(f"there is no tool {params.name!r}; there are {', '.join(sorted(self._tools))}")
        if claims is None:
            return _refusal(f"the header {NEMO_GYM_MCP_SESSION_TOKEN_HEADER} of the session is missing or invalid")
        if claims["tools"] is not None and tool.name not in claims["tools"]:
            return _refusal(f"this session has no tool {tool.name!r}; it has {', '.join(claims['tools'])}")
        session = {SESSION_ID_KEY: claims["session_id"]}
        scope = post_scope(self._app, tool.path, [(b"content-type", b"application/json")], session)
        return _result(tool, await reply_of(self._app, scope, json_bytes(params.arguments or {})))

    def _claims(self, context: Any) -> Json | None:
        request = context.request
        return self._tokens.read(request.headers.get(NEMO_GYM_MCP_SESSION_TOKEN_HEADER) if request else None)


def _result(tool: MCPTool, reply: AppReply) -> types.CallToolResult:
    """A reply as the model reads it: the body, and as an object where it is one."""
    text = reply.body.decode(errors="replace")
    if not 200 <= reply.status < 300:
        return _refusal(f"HTTP {reply.status} from POST {tool.path}: {text}")
    try:
        value: Any = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        value = None
    structured = value if isinstance(value, dict) else None
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=structured)


def _refusal(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)
