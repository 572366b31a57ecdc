"""A folder to work in, and engines that count on real sockets."""

from contextlib import AsyncExitStack

import pytest

from responses_api_models.simulated_model.server import running_engine
from responses_api_models.simulated_model.settings import EngineSettings
from tests.collect.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
async def engines():
    """Starts engines that are stopped at the end of the test: `await engines(2, slots=4)`."""
    async with AsyncExitStack() as stack:

        async def start(count: int = 1, **settings):
            return [await stack.enter_async_context(running_engine(EngineSettings(**settings))) for _ in range(count)]

        yield start
