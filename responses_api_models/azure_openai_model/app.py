"""A model behind a deployment on Azure OpenAI: Responses on our side, Chat Completions on Azure's."""

import time
from urllib.parse import quote

import aiohttp
from pydantic import Field

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.dialects.chat import to_chat
from nemo_gym_lite.dialects.outcomes import empty_chat
from nemo_gym_lite.dialects.reply import empty_response, to_response
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.routed_model import (
    BaseUrls,
    RoutedModel,
    RoutedModelClient,
    RoutedModelConfig,
    model_of,
)
from nemo_gym_lite.routing.endpoint import Endpoint
from nemo_gym_lite.routing.router import Router


class AzureOpenAIModelConfig(RoutedModelConfig):
    """Where the deployment is and how to ask it."""

    openai_base_url: BaseUrls = Field(
        description="the resource's endpoint; a URL that contains /openai/ is used as it is"
    )
    openai_api_key: str = Field(repr=False, description="sent as header `api-key`")
    openai_model: str = Field(default="", description="deployment of requests that name none")
    default_query: dict[str, str] = Field(
        default_factory=dict, description="appended to each URL; `api-version` is asked for by Azure"
    )
    num_concurrent_requests: int | None = Field(
        default=8, ge=1, description="calls at the same time; further ones wait"
    )


class AzureOpenAIModelClient(RoutedModelClient):
    """Translates, with the deployment that the request names, else the configured one."""

    def __init__(self, config: AzureOpenAIModelConfig, router: Router) -> None:
        super().__init__(router)
        self._model = config.openai_model
        self._whole_urls = all("/openai/" in f"{url}/" for url in config.openai_base_url)

    async def respond(self, params: Json, session_id: str) -> Json:
        """Play one turn; see `ModelClient`."""
        settings = DialectSettings(model_of(params, self._model))
        chat = await self._call(session_id, to_chat(params, settings))
        if chat is None:
            return empty_response(params, settings, "max_output_tokens", time.time())
        return to_response(chat, params, settings)

    async def chat(self, body: Json, session_id: str) -> Json:
        """Answer a Chat Completions request."""
        model = model_of(body, self._model)
        return await self._call(session_id, {**body, "model": model}) or empty_chat(model, "length", time.time())

    async def _call(self, session_id: str, body: Json) -> Json | None:
        """The deployment's answer, as `ask` gives it."""
        if "max_tokens" in body:  # reasoning models know only the newer name
            body["max_completion_tokens"] = body.pop("max_tokens")
        path = "/chat/completions"
        if not self._whole_urls:
            path = f"/openai/deployments/{quote(body['model'], safe='')}{path}"
        return await self.ask(session_id, path, body)


class AzureOpenAIModel(RoutedModel):
    """The server."""

    config: AzureOpenAIModelConfig

    @classmethod
    def client_of(
        cls, config: AzureOpenAIModelConfig, http: aiohttp.ClientSession, deadlines: Deadlines
    ) -> AzureOpenAIModelClient:
        """The client for `config`."""
        headers, query = {"api-key": config.openai_api_key}, config.default_query
        endpoints = [Endpoint(url, http, deadlines, headers, query) for url in config.openai_base_url]
        router = config.router(endpoints, config.num_concurrent_requests)
        return AzureOpenAIModelClient(config, router)


if __name__ == "__main__":
    AzureOpenAIModel.run_webserver()
