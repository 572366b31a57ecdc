"""The simulated engine as a model server of `ng_run`: engine and `vllm_model` in one process, no GPU, no key."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar

import uvloop
from aiohttp import web
from pydantic import Field, model_validator

from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.dialects.streamed import is_function
from nemo_gym_lite.errors import ConfigError, FailedCallError
from nemo_gym_lite.rollout_correlation import current_rollout_id, rollout_context, split_path
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.failures import error_body, status_of
from nemo_gym_lite.serving.host import these_instances
from nemo_gym_lite.serving.model_routes import answer_messages, answer_responses
from responses_api_models.simulated_model.answer_keys import key_files
from responses_api_models.simulated_model.serve import serve
from responses_api_models.simulated_model.server import SimulatedEngine
from responses_api_models.simulated_model.settings import EngineSettings
from responses_api_models.simulated_model.wire import bytes_reply, read_json
from responses_api_models.vllm_model.app import VLLMModel, VLLMModelClient, VLLMModelConfig


class SimulatedModelConfig(VLLMModelConfig):
    """The settings of `vllm_model`, whose server is this one, and those of the engine."""

    model: str = Field("simulated", description="name that the engine serves")
    engine: EngineSettings = Field(default_factory=EngineSettings, description="what the engine is told")

    @model_validator(mode="before")
    @classmethod
    def _point_to_itself(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if values.get("is_responses_native"):
            raise ConfigError(
                f"server `{values.get('name')}`: simulated_model does not take is_responses_native",
                "run `python -m responses_api_models.simulated_model.serve` and point vllm_model to it",
            )
        return {**values, "base_url": f"http://{values.get('host')}:{values.get('port')}/v1"}

    def engine_settings(self) -> EngineSettings:
        """The engine's settings, with this model's name and with paths that exist.

        Raises:
            ConfigError: A file of answer keys is in no search root.
        """
        try:
            found = key_files(self.engine.answer_keys)
        except FileNotFoundError as error:
            raise ConfigError(f"server `{self.name}`: engine.answer_keys: {error}") from error
        return self.engine.model_copy(update={"models": (self.model,), "answer_keys": found})


class SimulatedModel(VLLMModel):
    """The server. Its near client is `vllm_model`'s, so a rehearsal takes the way of a real run."""

    is_engine: ClassVar[bool] = True
    """The process is needed even where the model is near, because the near client talks to it."""

    config: SimulatedModelConfig

    @classmethod
    def run_webserver(cls) -> None:
        """Serve until SIGTERM; `ng_run` left name and configuration in the environment."""
        config = SimulatedModelConfig.of_instance(these_instances()[0].config)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(cls._serve(config))

    @classmethod
    async def _serve(cls, config: SimulatedModelConfig) -> None:
        deadlines = config.deadlines or Deadlines()
        async with open_http(deadlines) as http:
            engine = ServedEngine(config, cls.client_of(config, http, deadlines))
            await serve(engine, config.host, config.port)


class ServedEngine(SimulatedEngine):
    """The engine, whose `/v1/responses` is that of a model server, so that far answers equal near ones.

    Args:
        config: The settings of both.
        client: The model server's client of this engine.
    """

    def __init__(self, config: SimulatedModelConfig, client: VLLMModelClient) -> None:
        super().__init__(config.engine_settings())
        self._client = client
        self._routes["POST", "/v1/messages"] = self._messages
        self._paths["/v1/messages"] = "POST"

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer under `/ng-rollout/<id>` too, as every model server does."""
        rollout_id, path = split_path(request.path)
        if rollout_id is None:
            return await super()._answer(request)
        with rollout_context(rollout_id):
            return await super()._answer(request.clone(rel_url=path))

    async def _responses(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._as_model(request, partial(answer_responses, takes_tool=is_function))

    async def _messages(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._as_model(request, answer_messages)

    async def _as_model(self, request: web.BaseRequest, answer: Callable[..., Awaitable[Any]]) -> web.StreamResponse:
        session_id = request.headers.get("X-Session-ID") or current_rollout_id() or ""
        try:
            body = await read_json(request)
            reply = await answer(body, lambda params: params, partial(self._client.respond, session_id=session_id))
            return bytes_reply(reply.body, media_type=reply.media_type)
        except FailedCallError as error:
            return bytes_reply(error_body(error), status_of(error))


if __name__ == "__main__":
    SimulatedModel.run_webserver()
