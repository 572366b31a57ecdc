"""The simulated engine as a model server of `ng_run`: engine and `vllm_model` in one process, no GPU, no key."""

import asyncio
from typing import Any, ClassVar

import uvloop
from aiohttp import web
from pydantic import Field, model_validator

from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ConfigError, FailedCallError
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.failures import error_body, status_of
from nemo_gym_lite.serving.host import this_instance
from responses_api_models.simulated_model.answer_keys import key_files
from responses_api_models.simulated_model.serve import serve
from responses_api_models.simulated_model.server import SimulatedEngine
from responses_api_models.simulated_model.settings import EngineSettings
from responses_api_models.simulated_model.wire import bytes_reply, json_reply, read_json
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
        config = SimulatedModelConfig.of_instance(this_instance().config)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(cls._serve(config))

    @classmethod
    async def _serve(cls, config: SimulatedModelConfig) -> None:
        deadlines = config.deadlines or Deadlines()
        async with open_http(deadlines) as http:
            engine = ServedEngine(config, cls.client_of(config, http, deadlines))
            await serve(engine, config.host, config.port)


class ServedEngine(SimulatedEngine):
    """The engine, whose `/v1/responses` is that of a model server, so that far answers equal near ones."""

    def __init__(self, config: SimulatedModelConfig, client: VLLMModelClient) -> None:
        super().__init__(config.engine_settings())
        self._client = client

    async def _responses(self, request: web.BaseRequest) -> web.StreamResponse:
        session_id = request.headers.get("X-Session-ID", "")
        try:
            return json_reply(await self._client.respond(await read_json(request), session_id))
        except FailedCallError as error:
            return bytes_reply(error_body(error), status_of(error))


if __name__ == "__main__":
    SimulatedModel.run_webserver()
