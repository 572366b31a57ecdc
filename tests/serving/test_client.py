"""How one server calls another: patient while connecting, never twice, and every way to fail has its word."""

import asyncio
import socket
from unittest.mock import MagicMock

import aiohttp
import pytest
from aiohttp import web
from pydantic import BaseModel
from yarl import URL

from nemo_gym_lite.config_types import BaseServerConfig, HeadServerConfig
from nemo_gym_lite.errors import FailedCallError, ServerRefNotFoundError
from nemo_gym_lite.server_utils import (
    GlobalAIOHTTPAsyncClientConfig,
    ServerClient,
    SimpleServer,
    get_response_json,
    is_global_aiohttp_client_request_debug_enabled,
    raise_for_status,
    set_global_aiohttp_client,
)
from nemo_gym_lite.serving.client import JSON_HEADERS, close_http, get_global_aiohttp_client, open_http, post


@pytest.fixture
async def http():
    async with open_http() as session:
        yield session


@pytest.fixture
def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def start(routes, port=0):
    app = web.Application()
    app.add_routes([web.route("*", path, answer) for path, answer in routes.items()])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.fixture
async def echo_url():
    async def echo(request):
        reply = {"body": (await request.read()).decode(), "headers": dict(request.headers)}
        response = web.json_response(reply, status=int(request.query.get("status", 200)))
        response.set_cookie("mine", "1")
        return response

    runner, url = await start({"/echo": echo, "/": echo})
    yield url
    await runner.cleanup()


async def send(http, url, timeout_s=5.0, connect_s=5.0):
    return await post(http, URL(url), b"{}", JSON_HEADERS, timeout_s=timeout_s, connect_s=connect_s)


async def test_a_reply_comes_back_whole_whatever_its_status(http, echo_url):
    reply = await send(http, f"{echo_url}/echo?status=418")

    assert reply.status == 418
    assert b'"body": "{}"' in reply.body
    assert reply.set_cookies[0].startswith("mine=1")


async def test_a_server_that_is_about_to_start_is_waited_for(http, free_port):
    sending = asyncio.create_task(send(http, f"http://127.0.0.1:{free_port}/"))
    await asyncio.sleep(0.15)

    async def answer(request):
        return web.Response(text="here")

    runner, _ = await start({"/": answer}, free_port)

    assert (await sending).body == b"here"
    await runner.cleanup()


async def test_a_server_that_stays_away_is_unreachable(http, free_port):
    with pytest.raises(FailedCallError, match=f"127.0.0.1:{free_port}") as failure:
        await send(http, f"http://127.0.0.1:{free_port}/", connect_s=0.3)

    assert failure.value.failure_class == "unreachable"


async def test_a_request_that_left_is_not_sent_again(http):
    calls = []

    async def drop(request):
        calls.append(await request.read())
        request.transport.abort()
        await asyncio.sleep(1)

    runner, url = await start({"/": drop})
    with pytest.raises(FailedCallError) as failure:
        await send(http, f"{url}/")
    await runner.cleanup()

    assert failure.value.failure_class == "reset"
    assert len(calls) == 1


async def test_a_server_that_hangs_is_a_timeout(http):
    async def hang(request):
        await asyncio.sleep(1)

    runner, url = await start({"/": hang})
    with pytest.raises(FailedCallError, match=r"0\.1 s") as failure:
        await send(http, f"{url}/", timeout_s=0.1)
    await runner.cleanup()

    assert failure.value.failure_class == "timeout"


async def test_many_requests_at_once_are_not_queued(http):
    waiting, everybody = 0, asyncio.Event()

    async def meet(request):
        nonlocal waiting
        waiting += 1
        if waiting == 300:
            everybody.set()
        await everybody.wait()
        return web.Response()

    runner, url = await start({"/": meet})
    async with asyncio.timeout(10):
        replies = await asyncio.gather(*(send(http, f"{url}/") for _ in range(300)))
    await runner.cleanup()

    assert {reply.status for reply in replies} == {200}


@pytest.fixture
async def client(echo_url):
    port = URL(echo_url).port
    tree = {"judge": {"responses_api_models": {"vllm_model": {"host": "127.0.0.1", "port": port}}}}
    yield ServerClient(head_server_config=HeadServerConfig(), global_config_dict=tree)
    await close_http()


class Question(BaseModel):
    text: str
    unset: int | None = None


async def test_servers_are_called_by_name_with_models_as_bodies(client):
    response = await client.post("judge", "/echo", json=Question(text="ä"))
    reply = await get_response_json(response)

    assert reply["body"] == '{"text":"ä"}'
    assert reply["headers"]["Content-Type"] == "application/json"
    assert response.cookies["mine"].value == "1"


async def test_models_inside_a_body_are_dumped_too(client):
    reply = await get_response_json(await client.post("judge", "/echo", json={"q": [Question(text="a")]}))

    assert reply["body"] == '{"q":[{"text":"a"}]}'


async def test_cookies_of_one_reply_can_be_sent_with_the_next_request(client):
    first = await client.get("judge", "/echo")
    second = await get_response_json(await client.get("judge", "/echo", cookies=first.cookies))
    third = await get_response_json(await client.get("judge", "/echo"))

    assert second["headers"]["Cookie"] == "mine=1"
    assert "Cookie" not in third["headers"]


async def test_an_error_reply_raises_with_its_content(client):
    response = await client.post("judge", "/echo?status=500", json={})

    with pytest.raises(aiohttp.ClientResponseError) as failure:
        await raise_for_status(response)

    assert b'"body": "{}"' in failure.value.response_content


async def test_a_good_reply_does_not_raise(client):
    await raise_for_status(await client.get("judge", "/echo"))


async def test_a_server_that_is_not_configured_is_named(client):
    with pytest.raises(ServerRefNotFoundError, match="no server `jury` is configured"):
        await client.get("jury", "/")


async def test_a_servers_status_is_one_word(client, free_port):
    away = client.model_copy(update={"global_config_dict": {"head_server": {"host": "127.0.0.1", "port": free_port}}})

    assert await asyncio.to_thread(client.poll_for_status, "judge") == "success"
    assert await asyncio.to_thread(away.poll_for_status, "head_server") == "connection_error"


async def test_sessions_have_the_limits_that_were_chosen_and_say_what_they_ask(client, monkeypatch, caplog):
    monkeypatch.setattr("nemo_gym_lite.serving.client._chosen", [])
    assert get_global_aiohttp_client().connector.limit == 0
    assert not is_global_aiohttp_client_request_debug_enabled()
    await close_http()

    limits = GlobalAIOHTTPAsyncClientConfig(
        global_aiohttp_connector_limit_per_host=7, global_aiohttp_client_request_debug=True
    )
    http = set_global_aiohttp_client(limits)
    await client.get("judge", "/echo")

    assert (http.connector.limit, http.connector.limit_per_host) == (102_400, 7)
    assert get_global_aiohttp_client() is http
    assert is_global_aiohttp_client_request_debug_enabled()
    assert "/echo" in caplog.text


async def test_a_closed_session_is_replaced():
    first = get_global_aiohttp_client()
    assert get_global_aiohttp_client() is first

    await close_http()

    assert get_global_aiohttp_client() is not first
    await close_http()


def test_base_urls_come_from_blocks_and_configs():
    def url_of(block):
        return ServerClient._build_server_base_url(MagicMock(spec=ServerClient), block)

    assert url_of({"host": "h", "port": 1}) == "http://h:1"
    assert url_of(BaseServerConfig(host="h", port=1)) == "http://h:1"


def test_a_mock_with_the_clients_spec_passes_as_a_client():
    mock = MagicMock(spec=ServerClient)

    assert SimpleServer(config={"host": "", "port": 1, "entrypoint": "", "name": "x"}, server_client=mock)
