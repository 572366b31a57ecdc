"""Asks a running head server what runs where; with the run's token, also for the configuration's secrets."""

from dataclasses import dataclass

import aiohttp
import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.serving.head_config import CONFIG_PATH, HEAD_TIMEOUT_S, authorization, tree_of

CONTENT_HEADER = "X-NG-Config"
"""Reply header: whether the configuration is `whole` or `masked`."""

WHOLE = "whole"
MASKED = "masked"


@dataclass(frozen=True, slots=True)
class FetchedConfig:
    """The configuration of the servers that run.

    Attributes:
        tree: Resolved, hosts and ports included.
        whole: Whether its secrets are in it; without them a model is only to be reached through its server.
    """

    tree: Json
    whole: bool


async def fetch_config(head: HeadServerConfig, http: aiohttp.ClientSession) -> FetchedConfig | None:
    """Return the configuration of the running servers, or None when no head server is there.

    Raises:
        ConfigError: Something else answers on the head server's port.
    """
    reply = await _get(head, CONFIG_PATH, http)
    if reply is None:
        return None
    kind, body = reply
    try:
        tree = tree_of(body)
    except ValueError as error:
        raise _no_head(head, "its reply is no configuration") from error
    return FetchedConfig(tree, whole=kind == WHOLE)


async def fetch_servers(head: HeadServerConfig, http: aiohttp.ClientSession) -> list[Json] | None:
    """Return the running servers' records, or None when no head server is there.

    Raises:
        ConfigError: Something else answers on the head server's port.
    """
    reply = await _get(head, "/server_instances", http)
    if reply is None:
        return None
    try:
        records: list[Json] = orjson.loads(reply[1])
    except ValueError as error:
        raise _no_head(head, "its reply is no list of servers") from error
    return records


async def _get(head: HeadServerConfig, path: str, http: aiohttp.ClientSession) -> tuple[str, bytes] | None:
    """GET `path` with the token, if there is one; returns what kind of content it is, and the content."""
    timeout = aiohttp.ClientTimeout(total=HEAD_TIMEOUT_S)
    url = f"http://{head.host}:{head.port}{path}"
    try:
        async with http.get(url, headers=authorization(head.port), timeout=timeout) as response:
            if not response.ok:
                raise _no_head(head, f"it answers {response.status} to GET {path}")
            return response.headers.get(CONTENT_HEADER, ""), await response.read()
    except aiohttp.ClientConnectorError:
        return None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _no_head(head, repr(error)) from error


def _no_head(head: HeadServerConfig, why: str) -> ConfigError:
    return ConfigError(
        f"what listens on {head.host}:{head.port} is no head server of nemo_gym_lite: {why}",
        "name the port of your `ng_run` with `+head_server.port=`",
    )
