"""vLLM started by `ng_run`: as many engines as there are replicas, and `vllm_model` before them."""

import asyncio
import dataclasses
import os
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import orjson
import uvloop
from fastapi import FastAPI
from pydantic import Field, model_validator

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.global_config import get_hf_token
from nemo_gym_lite.serving.run_files import CONFIG_FILE_VARIABLE, INSTANCE_VARIABLE, WORKING_FOLDER_VARIABLE
from nemo_gym_lite.serving.server import serve_until
from responses_api_models.local_vllm_model.arguments import check_arguments, find_vllm, words
from responses_api_models.local_vllm_model.fleet import Fleet, until
from responses_api_models.local_vllm_model.gpus import DEVICES_VARIABLE, divide, gpus_per_replica, visible_gpus
from responses_api_models.local_vllm_model.log_file import claim_log
from responses_api_models.local_vllm_model.replica import KEY_VARIABLE, Patience, ReplicaPlan, own_environment
from responses_api_models.local_vllm_model.settings import EngineConfig
from responses_api_models.vllm_model.app import VLLMModel

_NO_KEYS = {"", "EMPTY", "dummy"}


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


class LocalVLLMModelConfig(EngineConfig):
    """The settings of engines in processes of their own."""

    num_replicas: int = Field(default=1, ge=1, description="engines to start; the GPUs are divided among them")
    engine_ports: list[int] = Field(default_factory=list, description="port of each replica; free ones by default")
    executable: str | None = Field(
        default=None, description="the `vllm` program; by default that of this environment, else that on PATH"
    )
    hang_s: float | None = Field(
        default=300.0, gt=0, description="seconds without a sign of life after which an engine is ended and restarted"
    )

    @model_validator(mode="before")
    @classmethod
    def _point_to_replicas(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("base_url"):
            return values
        ports, replicas = values.get("engine_ports") or [], values.get("num_replicas", 1)
        if not isinstance(replicas, int) or replicas < 1:
            what = f"server `{values.get('name')}`: num_replicas is {replicas!r}, not a number from 1"
            raise ConfigError(what, "for engines that run already, name them in base_url")
        if len(ports) != replicas:
            raise ConfigError(
                f"server `{values.get('name')}`: {len(ports)} engine_ports for num_replicas {replicas!r}",
                "leave engine_ports out to get free ones",
            )
        return {**values, "base_url": [_url(values.get("host") or "127.0.0.1", port) for port in ports]}

    def patience(self) -> Patience:
        """How the engines are waited for and started again."""
        return dataclasses.replace(super().patience(), hang_s=self.hang_s)

    def replica_urls(self) -> list[str]:
        """Where the engines answer that are ours to start."""
        return [_url(self.host, port) for port in self.engine_ports]


class LocalVLLMModel(VLLMModel):
    """The server. Its near client is `vllm_model`'s, over the replicas."""

    is_engine: ClassVar[bool] = True
    """The process is needed even where the model is near, because it starts what the near client talks to."""

    config: LocalVLLMModelConfig

    def setup_webserver(self) -> FastAPI:
        """Make the app, with `GET /get_inner_vllm_config` for whoever talks to the engines directly."""
        app = super().setup_webserver()
        app.get("/get_inner_vllm_config")(self.inner_config)
        return app

    async def inner_config(self) -> Json:
        """Where the engines are."""
        return {"base_url": self.config.base_url, "api_key": self.config.api_key, "model": self.config.served_name}

    @classmethod
    def run_webserver(cls) -> None:
        """Start the engines, then serve until SIGTERM, while engines that die are started again."""
        tree = orjson.loads(Path(os.environ[CONFIG_FILE_VARIABLE]).read_bytes())
        server = cls.from_tree(tree, os.environ[INSTANCE_VARIABLE])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server._run())

    async def _run(self) -> None:
        config = self.config
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        stopping = asyncio.create_task(stopped.wait())
        if not config.engine_ports or config.base_url != config.replica_urls():
            await serve_until(stopping, self.build_app(), config.host, config.port)
            return
        planned = await until(stopping, plans(config, get_hf_token()))
        if planned is None:
            return
        async with aiohttp.ClientSession() as http:
            fleet = Fleet(planned, http, show, config.patience())
            try:
                await until(stopping, fleet.start())
                if not stopped.is_set():
                    ended = asyncio.create_task(fleet.keep(stopping))
                    await serve_until(ended, self.build_app(), config.host, config.port)
                    ended.result()
            finally:
                await fleet.stop()


def show(line: str) -> None:
    """Write a line to stderr, which whoever started this process shows."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


async def plans(config: LocalVLLMModelConfig, hf_token: str | None) -> list[ReplicaPlan]:
    """What each replica is: program, arguments, GPUs, port and log.

    Args:
        config: The settings.
        hf_token: What the hub knows the user by, unless the settings' own variables say it.

    Raises:
        ConfigError: vLLM is not there, does not know an argument, or the GPUs do not suffice.
    """
    of_hub = {"HF_HOME": config.hf_home, "HF_TOKEN": hf_token}
    variables = own_environment({name: value for name, value in of_hub.items() if value} | config.env_vars)
    if config.api_key not in _NO_KEYS:
        variables[KEY_VARIABLE] = config.api_key
    if not config.model:
        raise ConfigError(f"server `{config.name}`: no `model`", "name a folder or a model of the hub")
    vllm = find_vllm(config.executable, variables)
    show(f"{config.name}: reading what arguments {vllm} knows")
    arguments = await check_arguments(vllm, config.engine_args, variables)
    config = config.model_copy(update={"engine_args": arguments})
    gpus = visible_gpus(variables)
    shares = divide(gpus, config.num_replicas, gpus_per_replica(config.engine_args))
    if idle := len(gpus) - sum(map(len, shares)):
        show(f"{config.name}: {idle} of {len(gpus)} GPUs are not used: raise num_replicas or tensor_parallel_size")
    return [_plan(config, vllm, variables, number, share) for number, share in enumerate(shares, 1)]


def _plan(config: LocalVLLMModelConfig, vllm: str, variables: Json, number: int, gpus: list[str]) -> ReplicaPlan:
    user_folder = Path(os.environ[WORKING_FOLDER_VARIABLE])
    place, port = find(config.model), config.engine_ports[number - 1]
    arguments = {"served_model_name": config.served_name, **config.engine_args}
    model = str(place.absolute()) if place is not None and place.is_dir() else config.model
    address = ["--host", config.host, "--port", str(port)]
    of_all = f" of {config.num_replicas}" if config.num_replicas > 1 else ""
    log = user_folder / config.log_dir / f"{config.name}_replica_{number}.log"
    shown = shlex.join([vllm, "serve", model, *address, *words(mask_secrets(arguments))])
    with suppress(OSError):
        log = claim_log(log, f"{DEVICES_VARIABLE}={','.join(gpus)} {shown}" if gpus else shown)
    return ReplicaPlan(
        f"replica {number}{of_all} of {config.name}",
        [vllm, "serve", model, *address, *words(arguments)],
        {**variables, **({DEVICES_VARIABLE: ",".join(gpus)} if gpus else {})},
        config.replica_urls()[number - 1].removesuffix("/v1"),
        log,
        str(user_folder),
    )


if __name__ == "__main__":
    LocalVLLMModel.run_webserver()
