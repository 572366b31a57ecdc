"""The head server tells what runs where: the servers, and the configuration, masked for strangers."""

import asyncio
import hmac
import secrets
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import orjson
from aiohttp import web
from omegaconf import DictConfig, OmegaConf

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.head_config import CONFIG_PATH, token_path
from nemo_gym_lite.serving.registry import CONTENT_HEADER, MASKED, WHOLE
from nemo_gym_lite.serving.run_files import write_private


class HeadServer:
    """Serves `/`, `/global_config_dict_yaml` and `/server_instances` for the length of an `async with` block.

    The configuration with its secrets goes only to callers that send the run's token. As long as the run
    lasts, the token lies in a file that only this user can read (`head_config.token_path`).

    Args:
        config: Where to listen.
        tree: The composed configuration.
        records: Gives the servers' records, see `Launcher.records`.
    """

    def __init__(
        self, config: HeadServerConfig, tree: DictConfig | Mapping[str, Any], records: Callable[[], list[Json]]
    ) -> None:
        self._config = config
        self._tree = tree
        self._records = records
        self._token = secrets.token_hex(32)
        self._token_path = token_path(config.port)
        self._runner: web.AppRunner

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            ServerStartError: The port is in use, or the token cannot be written.
        """
        app = web.Application()
        app.router.add_get("/", self._liveness)
        app.router.add_get(CONFIG_PATH, self._config_yaml)
        app.router.add_get("/server_instances", self._server_instances)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._config.host, self._config.port).start()
            await asyncio.to_thread(_leave_token, self._token_path, self._token)
        except OSError as error:
            await self._runner.cleanup()
            raise self._explained(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        self._token_path.unlink(missing_ok=True)
        await self._runner.cleanup()

    def _explained(self, error: OSError) -> ServerStartError:
        if error.filename is not None:
            return ServerStartError(f"the head server cannot write its token to {error.filename}: {error.strerror}")
        host, port = self._config.host, self._config.port
        return ServerStartError(
            f"the head server cannot listen on {host}:{port}: {error.strerror or error}",
            "another ng_run may be running (`ng_status` shows it): stop it, or choose another port with "
            f"`+head_server.port={port + 1}`",
        )

    async def _liveness(self, _: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _server_instances(self, _: web.Request) -> web.Response:
        return _json(self._records())

    async def _config_yaml(self, request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        whole = hmac.compare_digest(sent.encode(), self._token.encode())
        response = _json(self._whole_yaml if whole else self._masked_yaml)
        response.headers[CONTENT_HEADER] = WHOLE if whole else MASKED
        return response

    @cached_property
    def _whole_yaml(self) -> str:
        return OmegaConf.to_yaml(self._tree, resolve=True)

    @cached_property
    def _masked_yaml(self) -> str:
        return OmegaConf.to_yaml(mask_secrets(self._tree))


def _json(content: Any) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")


def _leave_token(path: Path, token: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, token.encode())
