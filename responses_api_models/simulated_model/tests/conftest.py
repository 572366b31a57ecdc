"""An engine to talk to and a session to talk with."""

from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from responses_api_models.simulated_model.server import SimulatedEngine, running_engine
from responses_api_models.simulated_model.settings import EngineSettings


@pytest.fixture
def settings() -> EngineSettings:
    return EngineSettings()


@pytest.fixture
async def engine(settings: EngineSettings) -> AsyncIterator[SimulatedEngine]:
    async with running_engine(settings) as engine:
        yield engine


@pytest.fixture
async def post(engine: SimulatedEngine):
    """`await post(path, body)` gives status and JSON."""
    async with aiohttp.ClientSession() as http:

        async def send(path, body=None, **options):
            async with http.post(engine.url + path, json=body, **options) as reply:
                return reply.status, await reply.json()

        yield send


@pytest.fixture
async def get(engine: SimulatedEngine):
    async with aiohttp.ClientSession() as http:

        async def fetch(path):
            async with http.get(engine.url + path) as reply:
                content = await reply.read()
                return reply.status, reply.headers, content

        yield fetch


@pytest.fixture
async def get_json(get):
    async def fetch(path):
        return orjson.loads((await get(path))[2])

    return fetch


@pytest.fixture
async def http_post(engine: SimulatedEngine):
    """`await http_post(path, body)` gives status and headers."""
    async with aiohttp.ClientSession() as http:

        async def send(path, body):
            async with http.post(engine.url + path, json=body) as reply:
                return reply.status, reply.headers

        yield send
