"""An upstream that gives recorded replies, and model servers over it: served on a real socket, and near."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import orjson
import pytest
import uvicorn
from aiohttp import web

from nemo_gym_lite.config_types import Deadlines, HeadServerConfig
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.far_model import FarModel
from nemo_gym_lite.serving.server_client import ServerClient

RECORDED = Path(__file__).parents[1] / "recorded"


def recorded(name: str) -> tuple[int, Any]:
    """Status and body of a reply that vLLM gave."""
    reply = json.loads((RECORDED / f"{name}.json").read_text())
    return reply["status"], reply["body"]


class Upstream:
    """Replies to POSTs from `replies`, the last one for ever; remembers what it was asked."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, Any]] = [recorded("chat_plain")]
        self.paths: list[str] = []
        self.bodies: list[dict] = []
        self.headers: list[Any] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.paths.append(str(request.rel_url))
        self.bodies.append(await request.json())
        self.headers.append(request.headers)
        status, body = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


class Near:
    """The model in this process."""

    def __init__(self, client: Any) -> None:
        self.respond, self.chat = client.respond, client.chat


class Served:
    """The model behind its own HTTP server."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url, self._http = url, http
        self.respond = FarModel(url, http, Deadlines()).respond

    async def chat(self, body: dict, session_id: str) -> dict:
        headers = {"X-Session-ID": session_id}
        async with self._http.post(f"{self._url}/v1/chat/completions", json=body, headers=headers) as reply:
            return await reply.json()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    app = web.Application()
    app.router.add_post("/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_http() as session:
        yield session


@asynccontextmanager
async def serving(server: Any) -> AsyncIterator[str]:
    """Serve a model server on a free port; yields its URL."""
    config = uvicorn.Config(server.build_app(), port=0, log_level="error", lifespan="on")
    runner = uvicorn.Server(config)
    task = asyncio.create_task(runner.serve())
    while not runner.started:
        await asyncio.sleep(0.005)
    port = runner.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        runner.should_exit = True
        await task


@pytest.fixture(params=["near", "served"])
async def model(request, http):
    """Open a model server of a class, near or served: `await model(VLLMModel, base_url=..., ...)`."""
    opened = []

    async def open_model(server_class, **settings):
        block = {"name": "policy_model", "host": "127.0.0.1", "port": 1, "entrypoint": "app.py", **settings}
        if request.param == "near":
            return Near(server_class.near_client(SimpleNamespace(config=block), http, Deadlines()))
        client = ServerClient(head_server_config=HeadServerConfig(), global_config_dict={})
        config = server_class.model_fields["config"].annotation.model_validate(block)
        context = serving(server_class(config=config, server_client=client))
        url = await context.__aenter__()
        opened.append(context)
        return Served(url, http)

    yield open_model
    for context in opened:
        await context.__aexit__(None, None, None)
