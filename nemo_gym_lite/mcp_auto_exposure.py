"""Tools over MCP under the import path by which tests of environments add them to an app of their own."""

from typing import Any

from fastapi import FastAPI

from nemo_gym_lite.serving.mcp_exposure import expose_tools

__all__ = ["maybe_auto_expose"]


def maybe_auto_expose(server: Any, app: FastAPI) -> None:
    """Add MCP to what `setup_webserver` made, if the server's config says `expose_tools_over_mcp`.

    Raises:
        ConfigError: The package `mcp` is missing, or the app does not allow it.
    """
    if server.config.expose_tools_over_mcp:
        expose_tools(server, app)
