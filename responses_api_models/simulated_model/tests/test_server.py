"""What a caller meets on the engine's routes."""

import aiohttp
import pytest

from responses_api_models.simulated_model.server import running_engine
from responses_api_models.simulated_model.settings import EngineSettings, Faults


@pytest.fixture
async def engine():
    async with running_engine(EngineSettings(max_model_len=200)) as engine:
        yield engine


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


def chat(text: str = "hello", **more):
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


async def post(http, engine, body, path="/v1/chat/completions", **options):
    async with http.post(engine.url + path, json=body, **options) as reply:
        return reply.status, await reply.json()


async def test_a_chat_request_is_answered(engine, http):
    status, body = await post(http, engine, chat())

    assert status == 200
    assert body["choices"][0]["message"]["content"]
    assert (
        body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    )


async def test_calls_are_counted_by_session_and_by_conversation(engine, http):
    for text in ("one", "one", "two"):
        await post(http, engine, chat(text), headers={"X-Session-ID": f"session of {text}"})

    assert engine.stats.sessions == {"session of one": 2, "session of two": 1}
    assert (engine.stats.completed, len(engine.stats.prompts), engine.stats.repeated) == (3, 2, 1)


@pytest.mark.parametrize("kind", ["reset", "half_body"])
async def test_a_broken_connection_is_an_error_of_the_client_and_no_completion(engine, http, kind):
    engine.faults.load(Faults(**{kind: 1.0}))

    with pytest.raises(aiohttp.ClientError):
        await post(http, engine, chat())
    assert (engine.stats.calls, engine.stats.completed) == (1, 0)


async def test_an_engine_can_die_and_come_back_at_the_same_address(engine, http):
    await engine.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(http, engine, chat())

    await engine.start()
    assert (await post(http, engine, chat()))[0] == 200
