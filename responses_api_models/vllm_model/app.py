"""A model behind vLLM servers: Responses on our side, Chat Completions on theirs, failover in between."""

import dataclasses
import logging
import time
from typing import Any, ClassVar, Self

import aiohttp
from pydantic import Field, model_validator

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.dialects.body import prepare_chat, prepare_common
from nemo_gym_lite.dialects.chat import to_chat
from nemo_gym_lite.dialects.outcomes import empty_chat, ends_without_call, is_context_overflow
from nemo_gym_lite.dialects.reply import empty_response, to_response
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.dialects.token_bundle import token_bundle
from nemo_gym_lite.errors import ConfigError, EndpointError
from nemo_gym_lite.responses_converter import ResponsesConverter, VLLMConverter, split_responses_input_output_items
from nemo_gym_lite.routed_model import BaseUrls, RoutedModel, RoutedModelClient, RoutedModelConfig
from nemo_gym_lite.routing.endpoint import Endpoint
from nemo_gym_lite.routing.engine_metrics import OwnEngine
from nemo_gym_lite.routing.router import Router

__all__ = [
    "ResponsesConverter",
    "VLLMConverter",
    "VLLMModel",
    "VLLMModelClient",
    "VLLMModelConfig",
    "split_responses_input_output_items",
]

_NOT_HERE = ("use_completions_api", "render_chat_template", "tokenizer", "audio_root")

logger = logging.getLogger(__name__)


class VLLMModelConfig(RoutedModelConfig):
    """Where the servers are and how to talk to them."""

    kept_for_nemo_gym: ClassVar[frozenset[str]] = frozenset({"request_prompt_and_generation_token_ids", *_NOT_HERE})

    base_url: BaseUrls = Field(description="one URL, a comma-separated string or a list; all serve one model")
    api_key: str = Field(default="EMPTY", repr=False, description="sent as bearer token")
    model: str = Field(
        default="", description="name that the servers know the model by; if empty, requests must name it"
    )
    return_token_id_information: bool = Field(
        default=False, description="put token ids and log probabilities of each turn on its last output item"
    )
    uses_reasoning_parser: bool = Field(
        default=True, description="make reasoning items of what the server separates from the text"
    )
    uses_interleaved_reasoning: bool = Field(
        default=True, description="send earlier turns' reasoning back in fields of its own"
    )
    preserve_reasoning_in_assistant_content: bool = Field(
        default=False, description="send earlier turns' reasoning back as tags in the text"
    )
    replace_developer_role_with_system: bool = Field(
        default=False, description="for chat templates without a developer role"
    )
    sequential_reasoning_allowed: bool = Field(
        default=True, description="whether a turn of reasoning alone may be followed by another"
    )
    is_responses_native: bool = Field(
        default=False, description="send Responses requests to the server's own /responses, untranslated"
    )
    chat_template_kwargs: dict[str, Any] | None = Field(
        default=None,
        description="arguments of the chat template; `metadata.chat_template_kwargs` of a row beats them",
    )
    extra_body: dict[str, Any] | None = Field(
        default=None, description="fields sent with each request that does not set them itself"
    )
    sampling_overrides: dict[str, Any] | None = Field(
        default=None, description="fields that replace what the request says"
    )
    default_headers: dict[str, str] = Field(
        default_factory=dict, repr=False, description="headers sent with each request"
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_here(cls, values: Any) -> Any:
        for key in _NOT_HERE:
            if isinstance(values, dict) and values.get(key):
                raise ConfigError(
                    f"server `{values.get('name')}`: `{key}: {values[key]}` is not supported",
                    f"leave `{key}` out; the chat endpoint of the server is used",
                )
        return values

    @model_validator(mode="after")
    def _refuse_native_with_translation(self) -> Self:
        translated = {
            "return_token_id_information": self.return_token_id_information,
            "replace_developer_role_with_system": self.replace_developer_role_with_system,
            "sequential_reasoning_allowed: false": not self.sequential_reasoning_allowed,
        }
        clash = [key for key, is_set in translated.items() if is_set]
        if self.is_responses_native and clash:
            raise ConfigError(f"server `{self.name}`: is_responses_native excludes {', '.join(clash)}")
        return self

    def dialect(self) -> DialectSettings:
        """The part that the translation needs."""
        return DialectSettings(
            model=self.model,
            uses_reasoning_parser=self.uses_reasoning_parser,
            uses_interleaved_reasoning=self.uses_interleaved_reasoning,
            preserve_reasoning_in_assistant_content=self.preserve_reasoning_in_assistant_content,
            return_token_id_information=self.return_token_id_information,
            replace_developer_role_with_system=self.replace_developer_role_with_system,
            sequential_reasoning_allowed=self.sequential_reasoning_allowed,
            chat_template_kwargs=self.chat_template_kwargs or {},
            extra_body=self.extra_body or {},
            sampling_overrides=self.sampling_overrides or {},
        )


class VLLMModelClient(RoutedModelClient):
    """Translates, routes, and translates back."""

    def __init__(self, config: VLLMModelConfig, router: Router, engine: OwnEngine | None = None) -> None:
        super().__init__(router, engine)
        self._settings = config.dialect()
        self._native = config.is_responses_native
        self._has_overflowed = False

    async def respond(self, params: Json, session_id: str) -> Json:
        """Play one turn; see `ModelClient`."""
        settings = self._settings_for(params)
        if self._native:
            body = prepare_common(params, settings)
            answer = await self.ask(session_id, "/responses", body)
            return answer or empty_response(params, settings, "max_output_tokens", time.time())
        body = to_chat(params, settings)
        if ends_without_call(body, settings):
            return empty_response(params, settings, "content_filter", time.time())
        answer = await self.ask(session_id, "/chat/completions", body)
        if answer is None:
            return empty_response(params, settings, "max_output_tokens", time.time())
        return to_response(answer, params, settings)

    async def chat(self, body: Json, session_id: str) -> Json:
        """Answer a Chat Completions request."""
        settings = self._settings_for(body)
        prepared = prepare_chat(body, settings)
        if ends_without_call(prepared, settings):
            return empty_chat(settings.model, "content_filter", time.time())
        answer = await self.ask(session_id, "/chat/completions", prepared)
        if answer is None:
            return empty_chat(settings.model, "length", time.time())
        if settings.return_token_id_information:
            choice = answer["choices"][0]
            choice["message"] |= token_bundle(answer)
            choice["logprobs"] = None
        return answer

    def forgives(self, error: EndpointError) -> bool:
        """Whether a refusal is answered with nothing: prompt or answer do not fit; the first one is logged."""
        overflows = is_context_overflow(error.status, error.body)
        if overflows and not self._has_overflowed:  # it is no failure, but it must not go unnoticed
            self._has_overflowed = True
            logger.warning("first prompt that does not fit, answered with nothing: %s", error.message)
        return overflows

    def _settings_for(self, params: Json) -> DialectSettings:
        """The configured model wins over the request's, unless none is configured."""
        if self._settings.model or not params.get("model"):
            return self._settings
        return dataclasses.replace(self._settings, model=params["model"])


class VLLMModel(RoutedModel):
    """The server."""

    config: VLLMModelConfig

    @classmethod
    def client_of(cls, config: VLLMModelConfig, http: aiohttp.ClientSession, deadlines: Deadlines) -> VLLMModelClient:
        """The client for `config`."""
        headers = {**config.default_headers}
        if config.api_key:
            headers["Authorization"] = f"Bearer {config.api_key}"
        endpoints = [Endpoint(url, http, deadlines, headers) for url in config.base_url]
        return VLLMModelClient(config, config.router(endpoints))


if __name__ == "__main__":
    VLLMModel.run_webserver()
