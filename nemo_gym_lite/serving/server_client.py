"""Calls servers by their instance names, with addresses from the configuration."""

import http.client
from typing import Annotated, Any, Literal, Self, TypeAlias

import aiohttp
from omegaconf import DictConfig
from pydantic import BaseModel, BeforeValidator, PrivateAttr

from nemo_gym_lite.config_types import BaseServerConfig, HeadServerConfig
from nemo_gym_lite.global_config import (
    HEAD_SERVER_KEY_NAME,
    as_tree,
    get_first_server_config_dict,
    get_global_config_dict,
    is_launched,
)
from nemo_gym_lite.serving.client import request
from nemo_gym_lite.serving.head_config import blocking_get, read_config

ServerStatus: TypeAlias = Literal["success", "connection_error", "timeout", "unknown_error"]


class ServerClient(BaseModel, arbitrary_types_allowed=True):
    """Calls configured servers by their instance names.

    Attributes:
        head_server_config: Where the head server listens.
        global_config_dict: The resolved configuration; a plain mapping becomes OmegaConf's.
    """

    head_server_config: BaseServerConfig
    global_config_dict: Annotated[DictConfig, BeforeValidator(as_tree)]

    _base_urls: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load_head_server_config(cls) -> BaseServerConfig:
        """Where the head server of this process's configuration listens."""
        return HeadServerConfig.model_validate(get_global_config_dict().get(HEAD_SERVER_KEY_NAME) or {})

    @classmethod
    def load_from_global_config(cls, head_server_config: BaseServerConfig | None = None) -> Self:
        """A client with the configuration of the servers that run.

        A server has it already. Any other process asks the head server, which blocks for up to 5 seconds.

        Raises:
            NoServerInstancesError: A `ValueError`: no head server answers.
        """
        head = head_server_config or cls.load_head_server_config()
        tree: Any = get_global_config_dict() if is_launched() else read_config(head)
        return cls(head_server_config=head, global_config_dict=tree)

    async def request(self, server_name: str, url_path: str, method: str, **kwargs: Any) -> aiohttp.ClientResponse:
        """Send a request; `json=` may be a pydantic model, `cookies=` the cookies of a reply."""
        return await request(method, f"{self._base_url(server_name)}{url_path}", _internal=True, **kwargs)

    async def get(self, server_name: str, url_path: str, **kwargs: Any) -> aiohttp.ClientResponse:
        """GET `url_path` of `server_name`."""
        return await self.request(server_name=server_name, url_path=url_path, method="GET", **kwargs)

    async def post(self, server_name: str, url_path: str, **kwargs: Any) -> aiohttp.ClientResponse:
        """POST to `url_path` of `server_name`."""
        return await self.request(server_name=server_name, url_path=url_path, method="POST", **kwargs)

    def poll_for_status(self, server_name: str) -> ServerStatus:
        """Whether a server, or `head_server`, answers at all; this blocks for up to 5 seconds."""
        tree = self.global_config_dict
        is_head = server_name == HEAD_SERVER_KEY_NAME
        block = tree[server_name] if is_head else get_first_server_config_dict(tree, server_name)
        try:
            blocking_get(block["host"], block["port"], "/")
        except TimeoutError:
            return "timeout"
        except OSError:
            return "connection_error"
        except http.client.HTTPException:
            return "unknown_error"
        return "success"

    def _base_url(self, server_name: str) -> str:
        url = self._base_urls.get(server_name)
        if url is None:
            block = get_first_server_config_dict(self.global_config_dict, server_name)
            url = self._base_urls[server_name] = self._build_server_base_url(block)
        return url

    def _build_server_base_url(self, server_config_dict: Any) -> str:
        config = server_config_dict
        if isinstance(config, BaseServerConfig):
            return f"http://{config.host}:{config.port}"
        return f"http://{config['host']}:{config['port']}"


def get_server_url(server_name: str) -> str:
    """Base URL of a server of this process's configuration.

    Raises:
        ServerRefNotFoundError: There is no server of that name.
    """
    block = get_first_server_config_dict(get_global_config_dict(), server_name)
    return f"http://{block['host']}:{block['port']}"
