"""Finds the servers that a run plays with: those of a running `ng_run`, or ones that it starts itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.compose import Composed
from nemo_gym_lite.config.interpolation import resolved
from nemo_gym_lite.config.servers import ServerInstance, server_instances
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.serving.registry import fetch_config

_ADDRESS = ("host", "port", "engine_ports")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The servers of a run.

    Attributes:
        servers: All that are configured.
        tree: The configuration they come from, resolved.
        running: Whether they run already, under somebody else's care.
        whole: Whether the configuration has its secrets, so that models can be near.
    """

    servers: tuple[ServerInstance, ...]
    tree: Json
    running: bool
    whole: bool = True


async def find_servers(composed: Composed[Any], http: aiohttp.ClientSession) -> Neighbours:
    """Find the servers of a run.

    A command line without `config_paths` plays with the `ng_run` behind the head server. One with them uses that
    `ng_run` too if it runs exactly these servers; otherwise the run brings its own.

    Raises:
        ConfigError: Nothing runs, and nothing says what to start.
    """
    head = composed.head_server
    try:
        fetched = await fetch_config(head, http)
    except ConfigError:
        if not composed.servers:
            raise
        fetched = None
    if fetched is not None:
        running = server_instances(fetched.tree, need_code=False)
        if not composed.servers or _describe(running) == _describe(composed.servers):
            return Neighbours(running, fetched.tree, running=True, whole=fetched.whole)
    if not composed.servers:
        raise ConfigError(
            f"no `ng_run` answers on {head.host}:{head.port}, and no config_paths say what to start",
            'start `ng_run "+config_paths=[...]"` in another terminal, or add +config_paths=[...] to this command',
        )
    return Neighbours(composed.servers, resolved(composed.tree), running=False)


def _describe(servers: Sequence[ServerInstance]) -> Mapping[str, Any]:
    """What the servers are, without the addresses that each start draws anew and without secrets' values."""
    return {
        server.name: (
            server.server_type,
            server.implementation,
            {name: value for name, value in server.config.items() if name not in _ADDRESS and not name.endswith("key")},
        )
        for server in servers
    }
