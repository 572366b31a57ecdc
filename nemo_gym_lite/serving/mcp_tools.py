"""The tools that an environment's app has, as MCP tells them to agents: names, arguments, and the route behind each."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import PydanticInvalidForJsonSchema, TypeAdapter

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError

RESERVED_MCP_TOOL_NAMES = frozenset({"verify", "seed_session", "aggregate_metrics", "mcp"})
"""Routes that are no tools: what only the agent itself calls."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PARAMETER = re.compile(r"{[^}]*}")
_ANYTHING: Json = {"type": "object", "additionalProperties": True}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MCPTool:
    """One tool.

    Attributes:
        name: What agents call it.
        path: Route that answers it, by POST.
        input_schema: JSON schema of its arguments.
        description: What it does.
    """

    name: str
    path: str
    input_schema: Json
    description: str | None = None


@dataclass(frozen=True)
class CatchAll:
    """A route that answers tools of any name, as `/{tool_name}`.

    Attributes:
        path: The route's path.
    """

    path: str

    def tool(self, name: str, input_schema: Json | None = None, description: str | None = None) -> MCPTool:
        """The tool `name` that this route answers."""
        return MCPTool(name, _PARAMETER.sub(name, self.path), input_schema or dict(_ANYTHING), description)


def tools_of(server: Any, app: FastAPI) -> dict[str, MCPTool]:
    """The tools that an environment shows, by name: its POST routes, as its `mcp_tools` chooses.

    Raises:
        ConfigError: A name cannot be used, or there is no saying which catch-all route answers tools.
    """
    routes = [route for route in app.routes if isinstance(route, APIRoute) and "POST" in (route.methods or ())]
    open_ended = [route for route in routes if "{" in route.path]
    if len(open_ended) > 1:
        paths = ", ".join(route.path for route in open_ended)
        raise ConfigError(
            f"{server.config.name}.expose_tools_over_mcp: several routes answer tools of any name: {paths}",
            "make them one, or remove the key",
        )
    named = [route for route in routes if "{" not in route.path and route.path[1:] not in RESERVED_MCP_TOOL_NAMES]
    catch_all = CatchAll(open_ended[0].path) if open_ended else None
    tools = _by_name(server, server.mcp_tools([_tool(route) for route in named], catch_all) or ())
    if catch_all is not None and not {tool.path for tool in tools.values()} - {route.path for route in named}:
        message = "%s: %s answers tools that no agent sees over MCP; name them in `mcp_tools` with `catchall.tool(...)`"
        _log.warning(message, server.config.name, catch_all.path)
    return tools


def _tool(route: APIRoute) -> MCPTool:
    return MCPTool(route.path[1:], route.path, _schema(route), route.description.strip() or None)


def _schema(route: APIRoute) -> Json:
    """Schema of a route's body; any object where its code does not tell."""
    if route.body_field is not None:
        try:
            body: Any = route.body_field.field_info.annotation
            schema = TypeAdapter(body).json_schema()
        except PydanticInvalidForJsonSchema:
            return dict(_ANYTHING)
        if schema.get("type") == "object":
            return schema
    return dict(_ANYTHING)


def _by_name(server: Any, tools: Iterable[MCPTool]) -> dict[str, MCPTool]:
    found: dict[str, MCPTool] = {}
    for tool in tools:
        wrong = None
        if not _NAME.fullmatch(tool.name):
            wrong = "has characters other than letters, digits, `_` and `-`"
        elif tool.name in RESERVED_MCP_TOOL_NAMES:
            wrong = "is a route that only the agent calls"
        elif tool.name in found:
            wrong = "is there twice"
        if wrong:
            raise ConfigError(
                f"{server.config.name}.expose_tools_over_mcp: the tool {tool.name!r} {wrong}",
                "leave it out, or name it anew, in an override of `mcp_tools`",
            )
        found[tool.name] = tool
    return found
