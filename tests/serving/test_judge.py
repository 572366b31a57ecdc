"""A judge's failure is never a wrong answer."""

import inspect

import pytest
from aiohttp import web
from pydantic import BaseModel

from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import NoHealthyEndpointError
from nemo_gym_lite.judge import JudgeError, call_judge, judge_failsafe, reraise_judge_errors
from nemo_gym_lite.server_utils import ServerClient
from nemo_gym_lite.serving.client import close_http
from nemo_gym_lite.serving.failures import error_body, status_of


class Opinion(BaseModel):
    text: str


@pytest.fixture
async def judge():
    replies = {"good": (200, '{"text": "yes"}'), "error": (500, "out of memory"), "garbage": (200, "not json")}
    replies["stranger"] = (200, '{"other": 1}')
    resting = NoHealthyEndpointError({"http://judge/v1": "cannot connect"})
    replies["resting"] = (status_of(resting), error_body(resting).decode())

    async def answer(request):
        status, text = replies[request.match_info["kind"]]
        return web.Response(status=status, text=text)

    app = web.Application()
    app.add_routes([web.post("/{kind}", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    block = {"host": "127.0.0.1", "port": runner.addresses[0][1]}
    tree = {"judge_model": {"responses_api_models": {"vllm_model": block}}}
    client = ServerClient(head_server_config=HeadServerConfig(), global_config_dict=tree)

    async def ask(kind):
        return await call_judge(client, server_name="judge_model", url_path=f"/{kind}", json={}, response_model=Opinion)

    yield ask
    await close_http()
    await runner.cleanup()


async def test_a_judges_reply_is_typed(judge):
    assert await judge("good") == Opinion(text="yes")


@pytest.mark.parametrize(("kind", "says"), [("error", "out of memory"), ("garbage", "JSON"), ("stranger", "text")])
async def test_a_call_that_fails_is_a_judge_error_that_says_why(judge, kind, says):
    with pytest.raises(JudgeError, match=says):
        await judge(kind)


async def test_a_judges_model_server_is_quoted_in_its_own_words(judge):
    with pytest.raises(JudgeError) as raised:
        await judge("resting")

    message = (
        "the judge's call failed: all 1 model endpoints are resting after failures\n  http://judge/v1: cannot connect"
    )
    assert raised.value.message == message
    assert "GET /health" in raised.value.hint


async def test_whatever_a_call_raises_is_a_judge_error_for_it_is_no_verdict():
    async def fail():
        raise RuntimeError("the judge is down")

    with pytest.raises(JudgeError, match="the judge is down"):
        await reraise_judge_errors(fail())


async def test_a_judge_error_stays_the_one_it_was():
    first = JudgeError("first")

    async def fail():
        raise first

    with pytest.raises(JudgeError) as second:
        await reraise_judge_errors(fail())
    assert second.value is first


async def test_the_failsafe_keeps_signature_and_result():
    async def verify(body: Opinion) -> Opinion:
        return body

    safe = judge_failsafe(verify)

    assert inspect.signature(safe) == inspect.signature(verify)
    assert await safe(Opinion(text="a")) == Opinion(text="a")


def test_the_failsafe_covers_blocking_checks_too():
    def verify(body: Opinion) -> Opinion:
        raise JudgeError("no answer")

    reply = judge_failsafe(verify)(body=Opinion(text="a"))

    assert reply.status_code == 200
    assert b'"text":"a"' in reply.body
    assert b'"_ng_failure_class":"judge_failed"' in reply.body
