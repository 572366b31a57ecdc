"""Servers and the client between them, under the import path that environments use."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nemo_gym_lite.config_types import (
    ROLLOUT_PATH_PREFIX,
    TOKEN_CAPTURE_PATH_SEGMENT,
    BaseRunServerInstanceConfig,
    BaseServerConfig,
)
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.global_config import (
    DEFAULT_HEAD_SERVER_PORT,
    get_first_server_config_dict,
    get_global_config_dict,
)
from nemo_gym_lite.rollout_correlation import (
    apply_rollout_prefix,
    maybe_rollout_id_from_run_body,
    rollout_path_prefix,
)
from nemo_gym_lite.serving.client import (
    MAX_NUM_TRIES,
    GlobalAIOHTTPAsyncClientConfig,
    get_global_aiohttp_client,
    get_response_json,
    is_global_aiohttp_client_request_debug_enabled,
    raise_for_status,
    request,
    set_global_aiohttp_client,
)
from nemo_gym_lite.serving.middleware import SESSION_ID_KEY
from nemo_gym_lite.serving.server import BaseServer, SimpleServer
from nemo_gym_lite.serving.server_client import ServerClient, ServerStatus, get_server_url

if TYPE_CHECKING:
    from nemo_gym_lite.serving.head_server import HeadServer
else:

    def __getattr__(name: str) -> Any:
        # only the process that runs all others has one
        if name == "HeadServer":
            return import_module("nemo_gym_lite.serving.head_server").HeadServer
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DEFAULT_HEAD_SERVER_PORT",
    "MAX_NUM_TRIES",
    "ROLLOUT_PATH_PREFIX",
    "SESSION_ID_KEY",
    "TOKEN_CAPTURE_PATH_SEGMENT",
    "BaseRunServerInstanceConfig",
    "BaseServer",
    "BaseServerConfig",
    "GlobalAIOHTTPAsyncClientConfig",
    "HeadServer",
    "ServerClient",
    "ServerStatus",
    "SimpleServer",
    "apply_rollout_prefix",
    "get_first_server_config_dict",
    "get_global_aiohttp_client",
    "get_global_config_dict",
    "get_response_json",
    "get_server_url",
    "initialize_ray",
    "is_global_aiohttp_client_request_debug_enabled",
    "is_nemo_gym_fastapi_entrypoint",
    "maybe_rollout_id_from_run_body",
    "raise_for_status",
    "request",
    "rollout_path_prefix",
    "set_global_aiohttp_client",
]


def is_nemo_gym_fastapi_entrypoint(file: str) -> bool:
    """Whether `file` is imported by a worker of a server with several, which must then set `app`; ours have one each.

    Args:
        file: The asking module's `__file__`.
    """
    entrypoint = os.environ.get("IS_NEMO_GYM_FASTAPI_ENTRYPOINT", "")
    return os.environ.get("IS_NEMO_GYM_FASTAPI_WORKER") == "1" and bool(entrypoint) and file.endswith(entrypoint)


def initialize_ray() -> None:
    """Refuse: servers are processes, and nobody starts Ray.

    Raises:
        ConfigError: Always.
    """
    raise ConfigError(
        "initialize_ray: nemo_gym_lite does not use Ray",
        "call `ray.init()` yourself if your environment distributes its own work with Ray",
    )
