"""The small OpenAI client under the name that environments and model servers know, on our own transport."""

import os
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import BaseModel, Field
from yarl import URL

from nemo_gym_lite.clients import Json
from nemo_gym_lite.clock import SystemClock
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import EndpointError
from nemo_gym_lite.routing.endpoint import Endpoint
from nemo_gym_lite.routing.pool import EndpointPool
from nemo_gym_lite.routing.retry import RetryPolicy
from nemo_gym_lite.routing.router import Router
from nemo_gym_lite.serving.client import get_global_aiohttp_client, raise_for_status, request


class NeMoGymAsyncOpenAI(BaseModel):
    """Calls one OpenAI-compatible API; requests and replies are plain dicts.

    Model calls are tried again as the router does it, within a budget. What fails for good raises
    `aiohttp.ClientResponseError` with the reply's body in `response_content`, or `EndpointError` if there was no
    reply.

    Attributes:
        base_url: Up to and without `/chat/completions`, usually ending in `/v1`.
        api_key: Sent as a bearer token.
        internal: Kept for compatibility; says nothing here.
        default_headers: Sent with each request.
    """

    base_url: str
    api_key: str
    internal: bool = False
    default_headers: dict[str, str] = Field(default_factory=dict)

    async def create_chat_completion(self, **body: Any) -> Json:
        """POST `/chat/completions`."""
        return await self._ask("/chat/completions", body)

    async def create_response(self, **body: Any) -> Json:
        """POST `/responses`."""
        return await self._ask("/responses", body)

    async def create_completion(self, **body: Any) -> Json:
        """POST `/completions`."""
        return await self._ask("/completions", body)

    async def create_models(self) -> Json:
        """GET `/models`."""
        return await self._once("GET", f"{self.base_url.rstrip('/')}/models")

    async def create_tokenize(self, **body: Any) -> Json:
        """POST `/tokenize`, which vLLM serves beside `/v1` and not below it."""
        root = self.base_url.rstrip("/").removesuffix("/v1")
        return await self._once("POST", f"{root}/tokenize", json=body)

    def _headers(self) -> dict[str, str]:
        return {**self.default_headers, "Authorization": f"Bearer {self.api_key}"}

    async def _ask(self, path: str, body: Json) -> Json:
        clock = SystemClock()
        endpoint = Endpoint(self.base_url, get_global_aiohttp_client(), Deadlines(), self._headers())
        router = Router([endpoint], EndpointPool([endpoint.base_url], clock), RetryPolicy(), clock)
        try:
            # a session of its own, so that a balancer behind the URL may spread the calls
            return await router.call(os.urandom(8).hex(), path, body)
        except EndpointError as error:
            if error.status is None:
                raise
            raise _response_error(endpoint.base_url + path, error.status, error) from error

    async def _once(self, method: str, url: str, **kwargs: Any) -> Json:
        reply = await request(method, url, headers=self._headers(), **kwargs)
        await raise_for_status(reply)
        result: Json = orjson.loads(await reply.read())
        return result


def _response_error(url: str, status: int, error: EndpointError) -> aiohttp.ClientResponseError:
    info = aiohttp.RequestInfo(URL(url), "POST", CIMultiDictProxy(CIMultiDict()), URL(url))
    raised = aiohttp.ClientResponseError(info, (), status=status, message=str(error))
    raised.response_content = error.body  # type: ignore[attr-defined]  # where NeMo Gym's callers look
    return raised
