"""What authors may rely on when they call an API with our client."""

from unittest.mock import MagicMock

import aiohttp
import pytest
from aiohttp import web

from nemo_gym_lite.openai_utils import NeMoGymAsyncOpenAI
from nemo_gym_lite.serving.client import close_http

ANSWER = {"id": "c1", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


class FakeApi:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self):
        self.answers, self.asked = [], []

    async def answer(self, request):
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, request.headers, body))
        status, answer = self.answers.pop(0)
        return web.json_response(answer, status=status)


@pytest.fixture
async def api():
    fake, app = FakeApi(), web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
    yield fake
    await close_http()
    await runner.cleanup()


@pytest.fixture
def client(api):
    return NeMoGymAsyncOpenAI(base_url=api.url, api_key="secret", default_headers={"X-Team": "blue"})


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("create_chat_completion", "/v1/chat/completions", ANSWER),
        ("create_completion", "/v1/completions", ANSWER),
        ("create_response", "/v1/responses", {"id": "r", "output": []}),
        ("create_tokenize", "/tokenize", {"tokens": [1]}),
    ],
)
async def test_each_method_posts_its_arguments_and_returns_the_reply(api, client, method, path, answer):
    api.answers = [(200, answer)]

    assert await getattr(client, method)(model="tiny", x=1) == answer
    ((verb, asked_path, headers, body),) = api.asked
    assert (verb, asked_path, body) == ("POST", path, {"model": "tiny", "x": 1})
    assert (headers["Authorization"], headers["X-Team"]) == ("Bearer secret", "blue")


async def test_the_models_are_listed(api, client):
    api.answers = [(200, {"data": []})]

    assert await client.create_models() == {"data": []}
    assert api.asked[0][:2] == ("GET", "/v1/models")


async def test_a_passing_failure_is_not_the_callers_to_see(api, client):
    api.answers = [(503, {"error": "busy"}), (200, ANSWER)]

    assert await client.create_chat_completion(model="tiny") == ANSWER


async def test_a_refusal_is_an_error_with_its_body(api, client):
    api.answers = [(400, {"error": {"message": "context length"}})]

    with pytest.raises(aiohttp.ClientResponseError) as refused:
        await client.create_chat_completion(model="tiny")
    assert refused.value.status == 400
    assert b"context length" in refused.value.response_content
    assert len(api.asked) == 1


async def test_a_client_may_be_replaced_by_a_mock_of_its_kind():
    mock = MagicMock(spec=NeMoGymAsyncOpenAI)

    assert isinstance(mock, NeMoGymAsyncOpenAI)
