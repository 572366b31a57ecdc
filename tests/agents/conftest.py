"""A model that follows a script, an environment with state, and the tool loop over both, near and far."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvicorn
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from nemo_gym_lite.agents.simple_agent import SimpleAgent, SimpleAgentConfig, SimpleAgentLoop
from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym_lite.base_responses_api_model import BaseResponsesAPIModelConfig, SimpleResponsesAPIModel
from nemo_gym_lite.config_types import Deadlines, HeadServerConfig
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.server_utils import SESSION_ID_KEY, ServerClient
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.far_agent import FarAgent
from nemo_gym_lite.serving.near_resources import NearResources

BLOCK = {"host": "127.0.0.1", "port": 0, "entrypoint": "app.py"}


class ScriptedModel(SimpleResponsesAPIModel):
    """Answers each turn with the next of `turns`, counted by the model's turns in the conversation so far."""

    config: BaseResponsesAPIModelConfig
    turns: list[list[dict]] = Field(default_factory=list)
    extras: list[dict] = Field(default_factory=list)
    asked: list[dict] = Field(default_factory=list)
    session_ids: list[str] = Field(default_factory=list)
    ended: list[str] = Field(default_factory=list)

    async def respond(self, params, session_id):
        turn = len([one for one in self.session_ids if one == session_id])
        self.asked.append({**params, "input": list(params["input"])})
        self.session_ids.append(session_id)
        if turn >= len(self.turns):
            raise FailedCallError("server_error", "the script is over")
        extra = self.extras[turn] if turn < len(self.extras) else {}
        return response_with(self.turns[turn], **extra)

    def end_session(self, session_id):
        self.ended.append(session_id)

    async def close(self):
        pass


class CounterReply(BaseVerifyResponse):
    model_config = ConfigDict(extra="allow")
    count: int


class Amount(BaseModel):
    by: int


class Counter(SimpleResourcesServer):
    """Counts per session, and says at the end how far."""

    config: BaseResourcesServerConfig
    counts: dict[str, int] = Field(default_factory=dict)

    def setup_webserver(self):
        app = super().setup_webserver()
        app.post("/add")(self.add)
        app.post("/stall")(self.stall)
        return app

    async def seed_session(self, request: Request, body: dict) -> dict:
        self.counts[request.session[SESSION_ID_KEY]] = body.get("start", 0)
        return {}

    async def add(self, request: Request, body: Amount) -> dict:
        self.counts[request.session[SESSION_ID_KEY]] += body.by
        return {"count": self.counts[request.session[SESSION_ID_KEY]]}

    async def stall(self, body: dict) -> dict:
        await asyncio.sleep(0.7)
        return {}

    async def verify(self, request: Request, body: BaseVerifyRequest) -> CounterReply:
        count = self.counts[request.session[SESSION_ID_KEY]]
        return CounterReply(**body.model_dump(), reward=float(count >= 3), count=count)


def message(text, **more):
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content, **more}


def call(name, arguments, call_id="c1"):
    return {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id, "id": "f"}


def reasoning(text):
    return {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": text}]}


def usage(prompt, completion, cached=None):
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "total_tokens": prompt + completion,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens_details": {"reasoning_tokens": None},
    }


def response_with(output, **more):
    fixed = {"id": "resp", "created_at": 1.0, "model": "m", "object": "response", "parallel_tool_calls": True}
    return {**fixed, "tool_choice": "auto", "tools": [], "output": output, "usage": None, **more}


@asynccontextmanager
async def serving(app):
    """Serve `app` on a free port; yields the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


class World:
    """An agent's loop over a scripted model and an environment, here a counting one; `agent` is it, near or far."""

    agent_class, config_class, loop_class = SimpleAgent, SimpleAgentConfig, SimpleAgentLoop

    def __init__(self, side, http, stack, environment_class=Counter):
        self._side, self._http, self._stack = side, http, stack
        client = ServerClient(head_server_config=HeadServerConfig(), global_config_dict={})
        config = BaseResponsesAPIModelConfig(**BLOCK, name="policy_model")
        self.model = ScriptedModel(config=config, server_client=client)
        self.counter = self.environment(environment_class)
        self.agent_url = ""
        self._tree = {}

    def environment(self, environment_class):
        client = ServerClient(head_server_config=HeadServerConfig(), global_config_dict={})
        config = BaseResourcesServerConfig(**BLOCK, name="environment")
        self.played_in = environment_class(config=config, server_client=client)
        return self.played_in

    def url_of(self, name):
        ((block,),) = (kind.values() for kind in self._tree[name].values())
        return f"http://127.0.0.1:{block['port']}"

    async def agent(self, deadlines=None, agent_class=None, **settings):
        deadlines = deadlines or Deadlines()
        config = self.config_class(
            **BLOCK,
            name="agent",
            resources_server={"name": "environment", "type": "resources_servers"},
            model_server={"name": "policy_model", "type": "responses_api_models"},
            deadlines=deadlines,
            **settings,
        )
        if self._side == "near":
            resources = NearResources(self.played_in, deadlines)
            self._stack.push_async_callback(resources.close)
            return self.loop_class(self.model, resources, config, deadlines)
        for kind, server in (("responses_api_models", self.model), ("resources_servers", self.played_in)):
            port = await self._stack.enter_async_context(serving(server.build_app()))
            self._tree[server.config.name] = {kind: {"any": {**BLOCK, "port": port}}}
        self._tree["agent"] = {"responses_api_agents": {"any": {**BLOCK}}}
        client = ServerClient(head_server_config=HeadServerConfig(), global_config_dict=self._tree)
        served = (agent_class or self.agent_class)(config=config, server_client=client)
        port = await self._stack.enter_async_context(serving(served.build_app()))
        client.global_config_dict.agent.responses_api_agents.any.port = port
        self.agent_url = f"http://127.0.0.1:{port}"
        return FarAgent(self.agent_url, self._http, deadlines)


@pytest.fixture(params=["near", "far"])
def side(request):
    return request.param


@pytest.fixture
async def world(side):
    async with open_http() as http, AsyncExitStack() as stack:
        yield World(side, http, stack)


@pytest.fixture
async def served_world():
    async with open_http() as http, AsyncExitStack() as stack:
        yield World("far", http, stack)


@pytest.fixture
def row():
    return {"responses_create_params": {"input": "count to three", "temperature": 0.5}, "start": 1, "label": "x"}
