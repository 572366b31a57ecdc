"""An environment's tools over MCP, called by the protocol's own client in the session that an agent seeded."""

import sys
from contextlib import asynccontextmanager

import aiohttp
import httpx2
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.server_utils import SESSION_ID_KEY

from .conftest import BlockingVerify, VerifyReply, VerifyRequest, Weather, make, placed, response_with, serving

HEADER = "X-NeMo-Gym-Session-Token"


class Shown(Weather):
    """All kinds of tools; counts the calls of each session, and scores by their names."""

    def mcp_tools(self, harvested, catchall):
        assert catchall is not None
        named = [tool for tool in harvested if tool.name != "echo"]
        return [*named, catchall.tool("dig", {"type": "object", "properties": {"deep": {"type": "integer"}}}, "dig")]

    def mcp_allowed_tools_for_session(self, seed_body):
        return seed_body.get("may_call")

    def setup_webserver(self):
        app = super().setup_webserver()  # with two routes that answer any name, of which one has to go
        app.router.routes[:] = [route for route in app.routes if getattr(route, "path", "") != "/any/{rest:path}"]
        return app

    async def verify(self, request: Request, body: VerifyRequest) -> VerifyReply:
        names = [item.name for item in body.response.output if item.type == "function_call"]
        count = self.counts.get(request.session[SESSION_ID_KEY])
        return VerifyReply(**body.model_dump(), reward=float(names == ["count", "other__count"]), count=count)


def shown(cls=Shown):
    server = make(cls)
    server.config.expose_tools_over_mcp = True
    return server


@asynccontextmanager
async def tools_of(url, token=None, mode="auto"):
    """The protocol's client of a served environment."""
    headers = {HEADER: token} if token else {}
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


async def seeded(url, **row):
    """What `/seed_session` replies, and the session's cookie."""
    async with aiohttp.ClientSession() as http, http.post(f"{url}/seed_session", json=row) as reply:
        return await reply.json(), reply.headers["Set-Cookie"].partition(";")[0]


@pytest.fixture
async def url():
    async with serving(shown().build_app()) as url:
        yield url


def text_of(result):
    return result.content[0].text


async def test_seeding_tells_where_the_sessions_tools_are(url):
    reply, _ = await seeded(url, start=3)
    token = reply["mcp"]["headers"].pop(HEADER)

    assert reply == {
        "start": 3,
        "mcp": {"server_name": "weather", "url_path": "/mcp", "transport": "http", "headers": {}},
    }
    assert token


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tools_are_listed_with_their_schemas_and_called_in_the_agents_session(url, mode):
    reply, cookie = await seeded(url, start=3)
    async with tools_of(url, reply["mcp"]["headers"][HEADER], mode) as tools:
        listed = {tool.name: tool for tool in (await tools.list_tools()).tools}
        weather = await tools.call_tool("get_weather", {"city": "Oslo"})
        counts = [await tools.call_tool("count", {}) for _ in range(2)]

    assert listed.keys() == {"get_weather", "count", "explode", "refuse", "plain", "nap", "dig"}
    assert listed["get_weather"].input_schema["required"] == ["city"]
    assert listed["dig"].input_schema["properties"] == {"deep": {"type": "integer"}}
    assert text_of(weather) == '{"city":"Oslo","temperature":20.5}'
    assert weather.structured_content == {"city": "Oslo", "temperature": 20.5}
    assert [text_of(count) for count in counts] == ['{"count":4}', '{"count":5}']
    async with aiohttp.ClientSession(headers={"Cookie": cookie}) as http, http.post(f"{url}/count", json={}) as own:
        assert await own.json() == {"count": 6}


async def test_what_goes_wrong_is_told_to_the_model(url):
    reply, _ = await seeded(url)
    async with tools_of(url, reply["mcp"]["headers"][HEADER]) as tools:
        wrong = {
            name: await tools.call_tool(name, arguments)
            for name, arguments in {"get_weather": {"town": "x"}, "explode": {}, "refuse": {}, "unheard_of": {}}.items()
        }
        plain, rested, dug = [await tools.call_tool(name, {"deep": 1}) for name in ("plain", "nap", "dig")]

    assert all(result.is_error for result in wrong.values())
    assert text_of(wrong["get_weather"]).startswith("HTTP 422 from POST /get_weather: ")
    assert "boom" in text_of(wrong["explode"])
    assert "HTTP 418" in text_of(wrong["refuse"])
    assert "no tool 'unheard_of'" in text_of(wrong["unheard_of"])
    assert [text_of(result) for result in (plain, rested)] == ["plain text", '"rested"']
    assert dug.structured_content == {"path": "/dig", "body": {"deep": 1}}


async def test_a_session_calls_nothing_without_its_token_and_only_what_it_may_with_it(url):
    reply, _ = await seeded(url, may_call=["count"])
    async with tools_of(url, reply["mcp"]["headers"][HEADER]) as tools:
        listed = [tool.name for tool in (await tools.list_tools()).tools]
        forbidden = await tools.call_tool("nap", {})
        allowed = await tools.call_tool("count", {})
    for token in (None, "forged." + reply["mcp"]["headers"][HEADER]):
        async with tools_of(url, token) as tools:
            assert len((await tools.list_tools()).tools) == 7
            assert HEADER in text_of(await tools.call_tool("count", {}))

    assert listed == ["count"]
    assert (forbidden.is_error, allowed.is_error) == (True, False)


@pytest.mark.parametrize("side", ["near", "far"])
async def test_calls_over_mcp_are_scored_by_their_bare_names_and_echoed_as_they_were_made(side, row):
    names = ["mcp__weather__count", "mcp__weather__other__count"]
    calls = [{"type": "function_call", "id": name, "call_id": name, "name": name, "arguments": "{}"} for name in names]
    server = shown()
    async with placed(server, side) as resources:
        verdict = await resources.open("s").verify({**row, "response": response_with(calls)})
    with TestClient(server.build_app()) as client:
        whole = client.post("/verify", json={**row, "response": response_with(calls)}).json()

    assert verdict["reward"] == whole["reward"] == 1.0
    assert [item["name"] for item in whole["response"]["output"]] == names


async def test_environments_without_mcp_stay_as_they_are(url, row):
    async with placed(make(Weather), "far") as resources:
        assert await resources.open("s").seed(row) == {"start": 5}
        assert "path" in await resources.open("s").call_tool("mcp", {})  # a tool like any other
    async with aiohttp.ClientSession() as http, http.get(url) as reply:
        assert (await reply.json())["name"] == "weather"


class Twofold(Weather):
    """Two routes that answer any name."""


class Odd(BlockingVerify):
    """A tool whose name MCP's clients refuse."""

    def setup_webserver(self):
        app = super().setup_webserver()
        app.post("/tools/dig")(self.dig)
        return app

    async def dig(self) -> dict:
        return {}


class Own(BlockingVerify):
    """Serves `/mcp` by itself."""

    def setup_webserver(self):
        app = super().setup_webserver()
        app.post("/mcp")(self.get_reverify_mode)
        return app


class Other(BlockingVerify):
    """A protocol of its own, without `/seed_session`."""

    def setup_webserver(self):
        app = super().setup_webserver()
        app.router.routes[:] = [route for route in app.routes if getattr(route, "path", "") != "/seed_session"]
        return app


@pytest.mark.parametrize(
    ("cls", "told"),
    [
        (Twofold, r"several routes answer tools of any name: /any/\{rest:path\}, /\{tool_name\}"),
        (Odd, "'tools/dig' has characters other than"),
        (Own, "a route /mcp of its own"),
        (Other, "no route /seed_session"),
    ],
)
def test_an_app_that_cannot_be_shown_says_why(cls, told):
    with pytest.raises(ConfigError, match=rf"weather\.expose_tools_over_mcp: .*{told}"):
        shown(cls).build_app()


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "nemo_gym_lite.serving.mcp_endpoint", raising=False)
    monkeypatch.setitem(sys.modules, "mcp_types", None)

    with pytest.raises(ConfigError, match=r"the package `mcp`, 2\.0 or newer, is needed") as error:
        shown().build_app()
    assert "pip install 'nemo-gym-lite[mcp]'" in error.value.hint


def test_a_servers_own_names_are_bared_and_others_too():
    server = make(BlockingVerify)
    names = ["count", "mcp__weather__count", "mcp__weather__other__count", "mcp__elsewhere__count"]

    assert [server.normalize_tool_name(name) for name in names] == ["count", "count", "other__count", "count"]


def test_the_hooks_show_everything_unless_overridden():
    server = make(BlockingVerify)

    assert server.mcp_tools(["a"], None) == ["a"]
    assert server.mcp_allowed_tools_for_session({}) is None
