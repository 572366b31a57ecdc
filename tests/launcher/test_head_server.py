"""Who learns what from the head server."""

import json
import stat

import aiohttp
import pytest
import yaml
from aiohttp import web

from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import ConfigError, ServerStartError
from nemo_gym_lite.serving.head_config import token_path
from nemo_gym_lite.serving.head_server import HeadServer
from nemo_gym_lite.serving.registry import fetch_config, fetch_servers

from .conftest import unused_port

TREE = {
    "policy_api_key": "sk-very-secret",
    "max_tokens": 5,
    "policy_model": {"responses_api_models": {"m": {"host": "127.0.0.1", "port": 1}}},
}


@pytest.fixture
def address(project):
    return HeadServerConfig(port=unused_port())


@pytest.fixture
async def head(address):
    async with HeadServer(address, TREE, lambda: [{"name": "one"}]):
        yield address


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def config_yaml(head, http, **headers):
    url = f"http://127.0.0.1:{head.port}/global_config_dict_yaml"
    async with http.get(url, headers=headers) as response:
        return yaml.safe_load(json.loads(await response.text()))


async def test_who_has_no_token_sees_the_config_with_secrets_masked(head, http):
    assert await config_yaml(head, http) == {**TREE, "policy_api_key": "****"}


async def test_a_wrong_token_is_no_token(head, http):
    for sent in ("Bearer ", "Bearer wrong", "nonsense \xe9"):
        assert (await config_yaml(head, http, Authorization=sent))["policy_api_key"] == "****"


async def test_the_same_user_gets_the_whole_config(head, http):
    fetched = await fetch_config(head, http)

    assert fetched.whole
    assert fetched.tree == TREE


async def test_without_the_token_file_the_fetched_config_says_that_it_is_masked(head, http):
    token_path(head.port).unlink()

    fetched = await fetch_config(head, http)

    assert not fetched.whole
    assert fetched.tree["policy_api_key"] == "****"


async def test_only_the_user_may_read_the_token_and_it_goes_with_the_run(address):
    path = token_path(address.port)
    async with HeadServer(address, TREE, list):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


async def test_a_token_that_a_killed_run_left_behind_is_replaced(address, http):
    path = token_path(address.port)
    path.parent.mkdir(parents=True)
    path.write_text("old")

    async with HeadServer(address, TREE, list):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await fetch_config(address, http)).whole


async def test_it_lists_the_servers_and_says_that_it_lives(head, http):
    assert await fetch_servers(head, http) == [{"name": "one"}]
    async with http.get(f"http://127.0.0.1:{head.port}/") as response:
        assert await response.json() == {"status": "ok"}


async def test_a_port_in_use_is_named_with_the_option_that_changes_it(project, listener):
    with pytest.raises(ServerStartError) as caught:
        async with HeadServer(HeadServerConfig(port=listener), TREE, list):
            pass

    assert f"the head server cannot listen on 127.0.0.1:{listener}: " in caught.value.message
    assert f"+head_server.port={listener + 1}" in caught.value.hint
    assert not token_path(listener).exists()


async def test_a_state_folder_that_cannot_be_written_is_named(address, tmp_path):
    (tmp_path / "state").write_text("a file, not a folder")

    with pytest.raises(ServerStartError, match=r"cannot write its token to .*state"):
        async with HeadServer(address, TREE, list):
            pass


async def test_no_head_server_is_no_error(address, http):
    assert await fetch_config(address, http) is None
    assert await fetch_servers(address, http) is None


@pytest.mark.parametrize("reply", [web.Response(status=404), web.Response(text="<html>")], ids=["404", "html"])
async def test_something_else_on_the_port_is_named(address, http, reply):
    async def answer(_):
        return web.Response(status=reply.status, text=reply.text)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", address.port).start()

    for fetch in (fetch_config, fetch_servers):
        with pytest.raises(ConfigError, match=f"127.0.0.1:{address.port} is no head server") as caught:
            await fetch(address, http)
        assert "+head_server.port=" in caught.value.hint
    await runner.cleanup()
