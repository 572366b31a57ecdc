"""An environment, a model and what it takes to serve them on real sockets."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
import uvicorn
from fastapi import HTTPException, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseSeedSessionRequest,
    BaseSeedSessionResponse,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym_lite.config_types import Deadlines, HeadServerConfig
from nemo_gym_lite.errors import FailedCallError, JudgeError
from nemo_gym_lite.server_utils import SESSION_ID_KEY, ServerClient
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.far_resources import FarResources
from nemo_gym_lite.serving.near_resources import NearResources


class City(BaseModel):
    city: str
    days: int = 1


class Forecast(BaseModel):
    city: str
    temperature: float


class SeedRequest(BaseSeedSessionRequest):
    model_config = ConfigDict(extra="allow")
    start: int = 0


class SeedReply(BaseSeedSessionResponse):
    start: int


class VerifyRequest(BaseVerifyRequest):
    expected: str = ""
    extra: dict = Field(default_factory=dict)


class VerifyReply(VerifyRequest, BaseVerifyResponse):
    count: int | None = None
    note: float = float("nan")


class Weather(SimpleResourcesServer):
    """A bit of everything that authors do: state per session, typed and untyped tools, catch-alls, failures."""

    config: BaseResourcesServerConfig
    counts: dict[str, int] = Field(default_factory=dict)

    def setup_webserver(self):
        app = super().setup_webserver()
        for tool in (self.get_weather, self.count, self.echo, self.explode, self.refuse, self.plain, self.nap):
            app.post(f"/{tool.__name__}")(tool)
        app.post("/any/{rest:path}")(self.anything)
        app.post("/{tool_name}")(self.anything)
        return app

    async def seed_session(self, request: Request, body: SeedRequest) -> SeedReply:
        self.counts[request.session[SESSION_ID_KEY]] = body.start
        return SeedReply(start=body.start)

    async def get_weather(self, body: City) -> Forecast:
        return Forecast(city=body.city, temperature=20.5)

    async def count(self, request: Request) -> dict[str, int]:
        session_id = request.session[SESSION_ID_KEY]
        self.counts[session_id] = self.counts.get(session_id, 0) + 1
        return {"count": self.counts[session_id]}

    async def echo(self, body: dict) -> dict:
        return body

    async def explode(self, body: dict):
        raise ValueError("boom")

    async def refuse(self, body: dict):
        raise HTTPException(418, "a teapot")

    async def plain(self, body: dict):
        return PlainTextResponse("plain text")

    def nap(self, body: dict) -> str:
        time.sleep(0.3)
        return "rested"

    async def anything(self, request: Request):
        return {"path": request.url.path, "body": await request.json()}

    async def verify(self, request: Request, body: VerifyRequest) -> VerifyReply:
        body.extra["touched"] = True
        match body.expected:
            case "crash":
                raise RuntimeError("the checker crashed")
            case "judge":
                raise JudgeError("no judge answered")
            case "busy":
                raise FailedCallError("rate_limited", "too many calls", "wait")
            case "slow":
                await asyncio.sleep(1)
        count = self.counts.get(request.session[SESSION_ID_KEY])
        return VerifyReply(**body.model_dump(), reward=1.0, count=count)


class BlockingVerify(SimpleResourcesServer):
    """A check that keeps its thread busy and has no sessions."""

    config: BaseResourcesServerConfig

    def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        time.sleep(0.3)
        return BaseVerifyResponse(**body.model_dump(), reward=0.5)


def make(server_class):
    config = BaseResourcesServerConfig(host="127.0.0.1", port=0, entrypoint="app.py", name="weather")
    client = ServerClient(head_server_config=HeadServerConfig(), global_config_dict={})
    return server_class(config=config, server_client=client)


@asynccontextmanager
async def serving(app):
    """Serve `app` on a free port of this machine; yields the base URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def placed(server, side, deadlines=None):
    """A client of `server`, near or far."""
    deadlines = deadlines or Deadlines()
    if side == "near":
        resources = NearResources(server, deadlines)
        yield resources
        await resources.close()
        return
    async with open_http(deadlines) as http, serving(server.build_app()) as base_url:
        yield FarResources(base_url, http, deadlines)


@pytest.fixture(params=["near", "far"])
def side(request):
    return request.param


@pytest.fixture
async def resources(side):
    async with placed(make(Weather), side, Deadlines(connect_s=0.5)) as client:
        yield client


@pytest.fixture
def row():
    return {
        "responses_create_params": {"input": "how warm is it in Oslo?", "temperature": 0.5},
        "expected": "fine",
        "start": 5,
        "extra": {"deep": [1, {"a": None}], "big": 2**60},
        "unknown_to_the_environment": {"kept": True},
    }


@pytest.fixture
def response():
    return response_with([message("20 degrees")])


def message(text):
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": content,
    }


def response_with(output, usage=None, **more):
    return {
        "id": "resp_1",
        "created_at": 1.0,
        "model": "m",
        "object": "response",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
        **more,
    }
