"""What every server is: a pydantic model with a config, a client for its neighbours, and a FastAPI app."""

import asyncio
import gc
import os
import resource
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import orjson
import uvicorn
from fastapi import FastAPI
from omegaconf import OmegaConf
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import BaseRunServerInstanceConfig, HeadServerConfig
from nemo_gym_lite.global_config import (
    as_tree,
    get_first_server_config_dict,
    get_global_config_dict,
    set_global_config_dict,
)
from nemo_gym_lite.rollout_correlation import RolloutContextMiddleware
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.serving.client import close_http
from nemo_gym_lite.serving.metrics_page import MetricsMiddleware, ServerMetrics
from nemo_gym_lite.serving.middleware import JsonErrorMiddleware, SessionMiddleware, run_secret
from nemo_gym_lite.serving.run_files import CONFIG_FILE_VARIABLE, INSTANCE_VARIABLE
from nemo_gym_lite.serving.server_client import ServerClient

_IDLE_S = 75

_UVICORN: dict[str, Any] = {
    "loop": "uvloop",
    "http": "httptools",
    "ws": "none",
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "timeout_keep_alive": _IDLE_S,
    "backlog": 2048,
    "log_level": "warning",
}

_GC_THRESHOLDS = (50_000, 50, 1000)
"""For processes on the path of rollouts, which make hundreds of objects for each and hardly a cycle: looking for
cycles every 700 objects, as is the default, took a tenth of the CPU at 100 in flight and a third at 1,000."""


class BaseServer(BaseModel, arbitrary_types_allowed=True):
    """A server with a typed config. Subclasses keep their state in fields or underscore attributes."""

    config: BaseRunServerInstanceConfig

    @classmethod
    def load_config_from_global_config(cls) -> BaseRunServerInstanceConfig:
        """The settings of the instance that this process serves, as the class that `config` is annotated with."""
        name = os.environ[INSTANCE_VARIABLE]
        block = get_first_server_config_dict(get_global_config_dict(), name)
        return cls._config_of(OmegaConf.to_container(block, resolve=True), name)

    @classmethod
    def _config_of(cls, block: Any, name: str) -> BaseRunServerInstanceConfig:
        config_class: Any = cls.model_fields["config"].annotation
        config: BaseRunServerInstanceConfig = config_class.model_validate({**block, "name": name})
        return config

    def setup_liveness(self, app: FastAPI) -> None:
        """Add `GET /`."""
        description = self.describe()

        async def liveness() -> Any:
            return description

        app.get("/")(liveness)

    def describe(self) -> Json:
        """What `GET /` answers."""
        return {"status": "ok", "name": self.config.name}


class SimpleServer(BaseServer):
    """A server that authors subclass; `setup_webserver` makes its routes."""

    server_client: ServerClient

    def setup_webserver(self) -> FastAPI:
        """Make the app with its routes and session cookies."""
        raise NotImplementedError(f"{type(self).__name__} does not define setup_webserver")

    def build_app(self) -> FastAPI:
        """The app as it is served: its routes, `GET /`, `GET /metrics`, errors as JSON."""
        app = self.setup_webserver()
        self.setup_liveness(app)
        self.setup_exception_middleware(app)
        app.add_middleware(MetricsMiddleware, metrics=ServerMetrics(self.vitals))  # last: it stands around all others
        return app

    def vitals(self) -> Vitals:
        """How the server is doing, for `GET /metrics`, beyond the requests that it answers."""
        return Vitals()

    def get_session_middleware_key(self) -> str:
        """Name of the session cookie."""
        return f"{type(self).__name__}___{self.config.name}"

    def setup_session_middleware(self, app: FastAPI) -> None:
        """Add session cookies, once however often it is called."""
        present: list[Any] = [middleware.cls for middleware in app.user_middleware]
        if SessionMiddleware not in present:
            cookie = self.get_session_middleware_key()
            app.add_middleware(SessionMiddleware, cookie=cookie, secret=run_secret())
            app.add_middleware(RolloutContextMiddleware)

    def setup_exception_middleware(self, app: FastAPI) -> None:
        """Reply to exceptions as JSON; only when served, so that tests of an app see them raised."""
        app.add_middleware(JsonErrorMiddleware, server=self.get_session_middleware_key(), release=self._release)

    async def _release(self) -> None:
        """Let go of what was opened while serving."""
        await close_http()

    @classmethod
    def from_tree(cls, tree: Json, name: str) -> Self:
        """The instance `name` of a resolved configuration, as an object of this process."""
        head = HeadServerConfig.model_validate(tree.get("head_server") or {})
        client = ServerClient(head_server_config=head, global_config_dict=as_tree(tree))
        set_global_config_dict(client.global_config_dict)  # for environments that ask for it by NeMo Gym's function
        return cls(config=cls._config_of(get_first_server_config_dict(tree, name), name), server_client=client)

    def set_ulimit(self, target_soft_limit: int = 65_535) -> None:
        """Let this process open at least so many files, as far as the system allows."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = target_soft_limit if hard == resource.RLIM_INFINITY else min(target_soft_limit, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    def prefix_server_logs(self) -> None:
        """Nothing to do: whoever started the process puts the server's name before its lines."""

    @classmethod
    def run_webserver(cls) -> None:
        """Serve this class until SIGTERM; `ng_run` left name and configuration in the environment."""
        tree = orjson.loads(Path(os.environ[CONFIG_FILE_VARIABLE]).read_bytes())
        server = cls.from_tree(tree, os.environ[INSTANCE_VARIABLE])
        serve(server.build_app(), server.config.host, server.config.port)


def prepare_for_load() -> None:
    """Set this process up for many rollouts: as many open files as the system allows, and little garbage collection.

    Each rollout in flight holds a socket, so the usual limit of 1,024 files would cap concurrency silently.
    """
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    gc.set_threshold(*_GC_THRESHOLDS)


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve `app` until SIGTERM or SIGINT."""
    prepare_for_load()
    uvicorn.run(app, host=host, port=port, **_UVICORN)


class _Told(uvicorn.Server):
    """A server that is told when to end, instead of listening for signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to whoever serves."""
        yield


async def serve_until(ended: "asyncio.Future[Any]", app: FastAPI, host: str, port: int) -> None:
    """Serve `app` on the running loop until `ended` is done; the caller sees to signals."""
    prepare_for_load()
    server = _Told(uvicorn.Config(app, host=host, port=port, **_UVICORN))
    serving = asyncio.create_task(server.serve())
    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = server.force_exit = True  # requests in flight would wait for engines that end now
    await asyncio.wait({serving})
    if server.started:
        await server.lifespan.shutdown()  # which `force_exit` leaves out


def serve_together(servers: Sequence[SimpleServer]) -> None:
    """Serve servers from one process, each on its own host and port, until SIGTERM or SIGINT."""
    prepare_for_load()
    apps = {server.config.port: server.build_app() for server in servers}
    sockets = [_listening(server.config.host, server.config.port) for server in servers]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await apps[scope["server"][1]](scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for server in servers:
            await server._release()
        await send({"type": "lifespan.shutdown.complete"})

    uvicorn.Server(uvicorn.Config(answer, lifespan="on", **_UVICORN)).run(sockets=sockets)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_UVICORN["backlog"])
