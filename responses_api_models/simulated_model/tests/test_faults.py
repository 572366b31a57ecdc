"""How the engine misbehaves when told to."""

import asyncio
import json
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from responses_api_models.simulated_model.faults import KINDS, FaultDice
from responses_api_models.simulated_model.settings import Faults

CHAT = "/v1/chat/completions"
BODY = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(("kind", "status"), [("rate_limited", 429), ("server_error", 500), ("unavailable", 503)])
async def test_error_replies_have_vllms_shape(engine, post, kind, status):
    engine.faults.load(Faults(**{kind: 1.0}))

    got, reply = await post(CHAT, BODY)
    assert (got, reply["error"]["code"]) == (status, status)
    assert engine.stats.by_fault == {kind: 1}
    assert engine.stats.by_status == {status: 1}


@pytest.mark.parametrize("kind", ["reset", "half_body"])
async def test_a_broken_connection_is_an_error_of_the_client_and_no_completion(engine, post, kind):
    engine.faults.load(Faults(**{kind: 1.0}))

    with pytest.raises(aiohttp.ClientError):
        await post(CHAT, BODY)
    assert (engine.stats.calls, engine.stats.completed, engine.stats.by_status) == (1, 0, {})


async def test_a_reset_is_a_real_tcp_reset(engine):
    engine.faults.load(Faults(reset=1.0))
    reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")

    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_half_a_body_is_half_of_what_was_promised(engine):
    engine.faults.load(Faults(half_body=1.0))
    async with aiohttp.ClientSession() as http, http.post(engine.url + CHAT, json=BODY) as reply:
        assert reply.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()


async def test_a_hanging_call_never_ends_but_the_engine_still_stops(engine, post):
    engine.faults.load(Faults(hang=1.0))
    call = asyncio.create_task(post(CHAT, BODY))
    await asyncio.sleep(0.1)
    assert not call.done()
    assert engine.stats.in_flight == 1

    await asyncio.wait_for(engine.stop(), 2)
    with pytest.raises(aiohttp.ClientError):
        await call
    assert engine.stats.in_flight == 0


async def test_a_200_can_carry_garbage_or_an_error(engine, post):
    engine.faults.load(Faults(invalid_json=1.0))
    with pytest.raises(json.JSONDecodeError):
        await post(CHAT, BODY)

    engine.faults.load(Faults(error_body=1.0))
    status, reply = await post(CHAT, BODY)
    assert status == 200
    assert "error" in reply
    assert engine.stats.completed == 0


async def test_a_slow_answer_is_late_and_good(engine, post):
    engine.faults.load(Faults(slow=1.0, slow_s=0.1))
    begun = asyncio.get_running_loop().time()

    assert (await post(CHAT, BODY))[0] == 200
    assert asyncio.get_running_loop().time() - begun >= 0.1


async def test_retry_after_comes_as_seconds_as_a_date_or_not_at_all(engine):
    async def retry_after(**more):
        engine.faults.load(Faults(rate_limited=1.0, **more))
        async with aiohttp.ClientSession() as http, http.post(engine.url + CHAT, json=BODY) as reply:
            return reply.headers.get("Retry-After")

    assert await retry_after(retry_after_s=2.5) == "2.5"
    assert parsedate_to_datetime(await retry_after(retry_after_form="date"))
    assert await retry_after(retry_after_s=None) is None


async def test_faults_can_be_changed_while_the_engine_runs(engine, post):
    assert (await post("/simulator/faults", {"server_error": 1.0, "at_most": 2}))[0] == 200

    assert [(await post(CHAT, BODY))[0] for _ in range(4)] == [500, 500, 200, 200]
    status, reply = await post("/simulator/faults", {"explode": 1.0})
    assert status == 400
    assert "explode" in reply["error"]["message"]


async def test_a_script_can_ask_for_a_fault_in_one_turn_of_one_task(engine, post):
    content = '<script>[{"fault": "error_body"}]</script>'
    _, reply = await post(CHAT, {"model": "any", "messages": [{"role": "user", "content": content}]})

    assert "error" in reply
    assert (await post(CHAT, BODY))[1]["choices"]


def test_faults_occur_as_often_as_told_and_alike_for_the_same_seed():
    rates = dict.fromkeys(KINDS, 0.1)
    draws = [FaultDice(Faults(**rates), seed=3).draw() for _ in range(2)]
    dice, same = FaultDice(Faults(**rates), seed=3), FaultDice(Faults(**rates), seed=3)
    drawn = [dice.draw() for _ in range(10_000)]

    assert draws[0] == draws[1]
    assert drawn == [same.draw() for _ in range(10_000)]
    for kind in (*KINDS, None):
        assert 850 < drawn.count(kind) < 1150
