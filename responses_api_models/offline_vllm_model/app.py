"""vLLM in the collector's own process: batch generation without any server, with everything else as it is."""

import asyncio
import time
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from fastapi import FastAPI
from pydantic import Field, model_validator

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ConfigError, EndpointError
from nemo_gym_lite.rollouts.progress import say
from nemo_gym_lite.routed_model import RoutedModel, RoutingConfig
from nemo_gym_lite.routing.endpoint import Endpoint, parse_answer
from nemo_gym_lite.routing.retry import classify
from responses_api_models.local_vllm_model.settings import EngineConfig
from responses_api_models.offline_vllm_model.engine import EnginePlan, InProcessEngine
from responses_api_models.vllm_model.app import VLLMModelClient

_OURS = frozenset({"host", "port", "model", "api_key", "uds"})
_BEGINS_A_PATH = (".", "/", "~")
"""No name on the hub begins so."""

_OF_SERVERS = ("base_url", "endpoints_file")


class OfflineVLLMModelConfig(EngineConfig):
    """The settings of an engine in this process."""

    kept_for_nemo_gym: ClassVar[frozenset[str]] = EngineConfig.kept_for_nemo_gym

    routing: RoutingConfig = Field(
        default_factory=lambda: RoutingConfig(patience_s=1800.0),  # for as long as an engine may take to load again
        description="retries, and how long calls wait while the engine is started again",
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_servers_have(cls, values: Any) -> Any:
        if isinstance(values, dict):
            name = values.get("name")
            if told := [key for key in _OF_SERVERS if values.get(key)]:
                raise ConfigError(
                    f"server `{name}`: an engine in the collector has no {' and no '.join(told)}",
                    "for engines that run already, use vllm_model",
                )
            arguments = values.get("engine_args") or values.get("vllm_serve_kwargs")
            names = arguments if isinstance(arguments, dict) else {}  # what is no mapping is told where types are
            if told := [str(key) for key in names if str(key).replace("-", "_") in _OURS]:
                raise ConfigError(
                    f"server `{name}`: engine_args names {', '.join(told)}, of which there is none without a server",
                    "take it out; `model:` stands beside engine_args",
                )
        return values

    def plan(self) -> EnginePlan:
        """What the engine is.

        Raises:
            ConfigError: No model is named, or a path that leads nowhere.
        """
        if not self.model:
            raise ConfigError(f"server `{self.name}`: no `model`", "name a folder or a model of the hub")
        place = find(Path(self.model).expanduser())
        if place is None and self.model.startswith(_BEGINS_A_PATH):
            raise ConfigError(
                f"server `{self.name}`: model: there is no {self.model}", "name a folder or a model of the hub"
            )
        model = str(place.absolute()) if place is not None and place.is_dir() else self.model
        arguments = {"model": model, "served_model_name": self.served_name, **self.engine_args}
        own = {"HF_HOME": self.hf_home} if self.hf_home else {}
        return EnginePlan(
            self.name,
            arguments,
            # a fork of a process with threads can hang, and no key is needed where nobody else can ask
            {"VLLM_WORKER_MULTIPROC_METHOD": "spawn", "VLLM_API_KEY": "", **own, **self.env_vars},
            Path.cwd() / self.log_dir / f"{self.name}.log",
        )


class EngineEndpoint(Endpoint):
    """Sends requests to the engine in this process, without retries.

    Args:
        engine: The engine.
        call_s: Seconds that a request may take.
    """

    def __init__(self, engine: InProcessEngine, call_s: float | None) -> None:
        self.base_url = engine.base_url
        self._engine = engine
        self._call_s = call_s

    async def post(self, path: str, body: bytes, session_id: str) -> tuple[Json, dict[str, str]]:
        """What `POST path` of a server would answer.

        Raises:
            EndpointError: As of a server's endpoint; `unreachable` while the engine is started again.
        """
        where = self.base_url + path
        if not self._engine.is_up:
            raise EndpointError("unreachable", f"{where}: the engine is down", retryable=True)
        try:
            async with asyncio.timeout(self._call_s):
                reply = await self._engine.ask(f"/v1{path}", body, session_id)
        except TimeoutError as error:
            message = f"no answer in time from {where}"
            raise EndpointError("timeout", message, retryable=True) from error
        except Exception as error:  # vLLM's app answers what it knows of, and raises the rest
            raise EndpointError("server_error", f"{where} failed: {error!r}", retryable=True) from error
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
        if reply.status >= 300:
            raise classify(where, reply.status, headers, reply.body, time.time())
        return parse_answer(where, reply.body), headers


class OfflineVLLMModel(RoutedModel):
    """The model; it is only ever near."""

    config: OfflineVLLMModelConfig

    @classmethod
    def client_of(
        cls, config: OfflineVLLMModelConfig, http: aiohttp.ClientSession, deadlines: Deadlines
    ) -> VLLMModelClient:
        """The client for `config`, with the engine behind it."""
        engine = InProcessEngine(config.plan(), say, config.patience())
        router = config.router([EngineEndpoint(engine, deadlines.call_s)])
        return VLLMModelClient(config, router, engine)

    def setup_webserver(self) -> FastAPI:
        """There is no server.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"server `{self.config.name}`: offline_vllm_model is the engine in ng_collect_rollouts' own process, "
            "which no server can ask",
            "give these config_paths to ng_collect_rollouts; if they were, something with `placement: far` "
            "asks this model: use local_vllm_model",
        )


if __name__ == "__main__":
    OfflineVLLMModel.run_webserver()
