"""How to read a running head server's configuration: its address, its token, and one blocking request."""

import http.client
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.errors import NoServerInstancesError

CONFIG_PATH = "/global_config_dict_yaml"
HEAD_TIMEOUT_S = 5.0


def token_path(port: int) -> Path:
    """Where the head server on `port` leaves its token for other commands of the same user."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "nemo_gym_lite" / f"head-{port}.token"


def authorization(port: int) -> dict[str, str]:
    """The header with the token of the head server on `port`; none if it is not this user's."""
    try:
        return {"Authorization": f"Bearer {token_path(port).read_text()}"}
    except OSError:  # no run of this user
        return {}


def tree_of(body: bytes) -> Json:
    """The configuration in a head server's reply, which is YAML in a JSON string.

    Raises:
        ValueError: It is none.
    """
    try:
        tree: Any = yaml.safe_load(str(orjson.loads(body)))
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error
    if not isinstance(tree, dict):
        raise ValueError("no mapping")
    return tree


def blocking_get(host: str, port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """GET `path` without an event loop, within 5 seconds; returns status and body.

    Raises:
        OSError: Nobody answers, `TimeoutError` if in time.
        http.client.HTTPException: What answers does not speak HTTP.
    """
    connection = http.client.HTTPConnection(host, port, timeout=HEAD_TIMEOUT_S)
    try:
        connection.request("GET", path, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def read_config(head: BaseServerConfig) -> Json:
    """Read the configuration of the servers that run, without an event loop.

    Raises:
        NoServerInstancesError: Nobody answers, or it is no head server that does.
    """
    try:
        _, body = blocking_get(head.host, head.port, CONFIG_PATH, authorization(head.port))
        return tree_of(body)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoServerInstancesError(
            f"Could not connect to the head server at http://{head.host}:{head.port}: {error}",
            "start `ng_run` first, or name its port with `+head_server.port=`",
        ) from error
