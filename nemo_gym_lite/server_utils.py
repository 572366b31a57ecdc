"""Servers and the client between them, under the import path that environments use."""

from nemo_gym_lite.serving.client import (
    MAX_NUM_TRIES,
    ServerClient,
    get_first_server_config_dict,
    get_global_aiohttp_client,
    get_response_json,
    raise_for_status,
    request,
)
from nemo_gym_lite.serving.middleware import SESSION_ID_KEY
from nemo_gym_lite.serving.server import BaseServer, SimpleServer

__all__ = [
    "MAX_NUM_TRIES",
    "SESSION_ID_KEY",
    "BaseServer",
    "ServerClient",
    "SimpleServer",
    "get_first_server_config_dict",
    "get_global_aiohttp_client",
    "get_response_json",
    "raise_for_status",
    "request",
]
