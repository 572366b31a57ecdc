"""Time by hand, and a small endpoint on a real socket that fails in the ways real ones do."""

import asyncio
import heapq
import json
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.routing.breaker import BreakerPolicy
from nemo_gym_lite.routing.endpoint import Endpoint
from nemo_gym_lite.routing.pool import EndpointPool
from nemo_gym_lite.routing.retry import RetryPolicy
from nemo_gym_lite.routing.router import Router

DEFAULTS = (RetryPolicy(), Deadlines())
Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ManualClock:
    """A clock that moves when the test says so; `sleep` waits for that."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        heapq.heappush(self._sleepers, (self.seconds + seconds, id(event), event))
        if seconds <= 0:
            return
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, waking sleepers at their times."""
        end = self.seconds + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.seconds, _, event = heapq.heappop(self._sleepers)
            event.set()
            await settle()
        self.seconds = end
        await settle()


async def settle() -> None:
    """Let every task run until it waits for something else."""
    for _ in range(20):
        await asyncio.sleep(0)


class FakeEndpoint:
    """Answers Chat Completions; `script` holds how the next requests go, `always` how all others do."""

    def __init__(self) -> None:
        self.script: list[Behaviour] = []
        self.always: Behaviour = answer()
        self.sessions: list[str] = []
        self.bodies: list[dict] = []
        self.headers: list[dict] = []
        self.base_url = ""

    @property
    def calls(self) -> int:
        return len(self.sessions)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.sessions.append(request.headers.get("X-Session-ID", ""))
        self.bodies.append(json.loads(await request.read()))
        self.headers.append(dict(request.headers))
        behaviour = self.script.pop(0) if self.script else self.always
        return await behaviour(request)


def answer(text: str = "hello", **more) -> Behaviour:
    async def behave(request: web.Request) -> web.StreamResponse:
        message = {"role": "assistant", "content": text}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], **more})

    return behave


def status(code: int, body: str = '{"error": {"message": "no"}}', **headers: str) -> Behaviour:
    async def behave(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, text=body, headers=named)

    return behave


async def reset(request: web.Request) -> web.StreamResponse:
    """The connection breaks before any byte of a reply."""
    request.transport.abort()
    return web.Response()


async def half_body(request: web.Request) -> web.StreamResponse:
    """Headers promise more than is sent before the connection breaks."""
    reply = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await reply.prepare(request)
    await reply.write(b'{"choices": [')
    request.transport.abort()
    return reply


async def not_http(request: web.Request) -> web.StreamResponse:
    """Bytes that are no HTTP reply."""
    request.transport.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    request.transport.close()
    return web.Response()


async def hang(request: web.Request) -> web.StreamResponse:
    """No answer, ever."""
    await asyncio.sleep(3600)
    return web.Response()


@pytest.fixture
async def start() -> AsyncIterator[Callable[[], Awaitable[FakeEndpoint]]]:
    runners: list[web.AppRunner] = []

    async def start_one() -> FakeEndpoint:
        endpoint = FakeEndpoint()
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/{path:.*}", endpoint.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        endpoint.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return endpoint

    yield start_one
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def dead_url() -> str:
    """A base URL whose port refuses connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


class FastClock:
    """The real clock a hundred times faster, for loops over real sockets."""

    def now(self) -> float:
        return asyncio.get_running_loop().time() * 100

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


@pytest.fixture
def route(http):
    """Build a router over base URLs; keyword arguments go to the pool, those of the router and the endpoints apart."""

    def build(
        *urls: str, policy=DEFAULTS[0], deadlines=DEFAULTS[1], max_in_flight=None, limiter=None, breaker=None, **pool
    ) -> Router:
        clock, rng = FastClock(), random.Random(1)
        endpoints = [Endpoint(url, http, deadlines) for url in urls]
        states = EndpointPool(urls, clock, policy=BreakerPolicy(**breaker or {}), rng=rng, **pool)
        return Router(endpoints, states, policy, clock, limiter=limiter, max_in_flight=max_in_flight, rng=rng)

    return build
