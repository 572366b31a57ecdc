"""A model behind OpenAI's Responses API, or a service that speaks it: requests are forwarded as they are."""

import time
from typing import Any, Self

import aiohttp
from pydantic import Field, model_validator

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.dialects.outcomes import empty_chat
from nemo_gym_lite.dialects.reply import empty_response
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.routed_model import (
    BaseUrls,
    RoutedModel,
    RoutedModelClient,
    RoutedModelConfig,
    model_of,
)
from nemo_gym_lite.routing.endpoint import Endpoint
from nemo_gym_lite.routing.router import Router


class OpenAIModelConfig(RoutedModelConfig):
    """Where the service is and how to ask it."""

    openai_base_url: BaseUrls = Field(description="usually https://api.openai.com/v1")
    openai_api_key: str = Field(repr=False, description="sent as bearer token")
    openai_model: str = Field(default="", description="model of requests that name none")
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="fields sent with each request that does not set them itself"
    )
    openai_default_headers: dict[str, str] = Field(
        default_factory=dict, repr=False, description="headers sent with each request"
    )
    max_concurrent_requests: int | None = Field(
        default=None, ge=1, description="calls at the same time; further ones wait"
    )
    drop_input_reasoning_items: bool = Field(
        default=False, description="leave earlier turns' reasoning out, for services that do not take it back"
    )

    @model_validator(mode="after")
    def _refuse_an_empty_key(self) -> Self:
        if not self.openai_api_key:
            raise ConfigError(f"server `{self.name}` has no API key", "put `OPENAI_API_KEY: sk-...` into env.yaml")
        return self


class OpenAIModelClient(RoutedModelClient):
    """Forwards, with the model that the request names, else the configured one."""

    def __init__(self, config: OpenAIModelConfig, router: Router) -> None:
        super().__init__(router)
        self._model, self._extra = config.openai_model, config.extra_body
        self._drops_reasoning = config.drop_input_reasoning_items

    async def respond(self, params: Json, session_id: str) -> Json:
        """Play one turn; see `ModelClient`."""
        body = {**self._extra, **params, "model": model_of(params, self._model)}
        if self._drops_reasoning and isinstance(body["input"], list):
            body["input"] = [item for item in body["input"] if item.get("type") != "reasoning"]
        answer = await self.ask(session_id, "/responses", body)
        return answer or empty_response(params, DialectSettings(body["model"]), "max_output_tokens", time.time())

    async def chat(self, body: Json, session_id: str) -> Json:
        """Answer a Chat Completions request."""
        body = {**self._extra, **body, "model": model_of(body, self._model)}
        answer = await self.ask(session_id, "/chat/completions", body)
        return answer or empty_chat(body["model"], "length", time.time())


class OpenAIModel(RoutedModel):
    """The server."""

    config: OpenAIModelConfig

    @classmethod
    def client_of(
        cls, config: OpenAIModelConfig, http: aiohttp.ClientSession, deadlines: Deadlines
    ) -> OpenAIModelClient:
        """The client for `config`."""
        headers = {"Authorization": f"Bearer {config.openai_api_key}", **config.openai_default_headers}
        endpoints = [Endpoint(url, http, deadlines, headers) for url in config.openai_base_url]
        router = config.router(endpoints, config.max_concurrent_requests)
        return OpenAIModelClient(config, router)

    def takes_tool(self, tool: Json) -> bool:
        """All: the service runs tools of its own."""
        return True


if __name__ == "__main__":
    OpenAIModel.run_webserver()
