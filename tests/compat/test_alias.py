"""`nemo_gym` is this package: one module object under two names, unless the user wants NeMo Gym itself."""

import importlib.util
import subprocess
import sys
import textwrap
from importlib import import_module
from unittest.mock import patch

import aiohttp
import pytest

import nemo_gym_lite
from nemo_gym_lite import alias
from tests.collect.test_with_ng_run import free_port, running

THEIRS = """
    import asyncio, json, os
    from abc import ABC, abstractmethod

    class SimpleServer(ABC):
        @classmethod
        def run_webserver(cls):
            name = os.environ["NEMO_GYM_CONFIG_PATH"]
            tree = json.loads(os.environ["NEMO_GYM_CONFIG_DICT"])
            block = tree[name]["resources_servers"]["foreign"]
            asyncio.run(serve(block, json.dumps({"said_by": "NeMo Gym itself", "block": block}).encode()))

    class SimpleResourcesServer(SimpleServer):
        @abstractmethod
        async def verify(self, body): ...

    async def serve(block, answer):
        async def reply(reader, writer):
            await reader.readuntil(b"\\r\\n\\r\\n")
            head = f"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(answer)}\\r\\n"
            writer.write(head.encode() + b"Connection: close\\r\\n\\r\\n" + answer)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(reply, block["host"], block["port"]) as server:
            await server.serve_forever()
"""

FOREIGN = """
    from nemo_gym.base_resources_server import SimpleResourcesServer

    class Foreign(SimpleResourcesServer):
        async def verify(self, body: dict) -> dict:
            return {"reward": 1.0}
"""


@pytest.fixture
def foreign(workspace):
    """A server written for NeMo Gym, and the words that configure it."""
    workspace.write("resources_servers/foreign/app.py", textwrap.dedent(FOREIGN))
    text = "foreign: {resources_servers: {foreign: {entrypoint: app.py, domain: other, note: 'costs \\${much}'}}}\n"
    workspace.write("foreign.yaml", text)
    return workspace


def installed_nemo_gym(workspace):
    """Put a package `nemo_gym` where Python finds it."""
    workspace.write("elsewhere/nemo_gym/__init__.py", "")
    workspace.write("elsewhere/nemo_gym/base_resources_server.py", textwrap.dedent(THEIRS))
    workspace.environment["PYTHONPATH"] = str(workspace.path / "elsewhere")


def test_a_module_under_its_second_name_is_the_same_object_and_keeps_its_own_name():
    theirs = import_module("nemo_gym.rollouts.plan")

    assert theirs is import_module("nemo_gym_lite.rollouts.plan")
    assert (theirs.__name__, theirs.__spec__.name) == ("nemo_gym_lite.rollouts.plan",) * 2
    assert import_module("nemo_gym") is nemo_gym_lite
    assert importlib.util.find_spec("nemo_gym.rollouts.plan").origin == theirs.__file__


def test_what_is_patched_under_one_name_is_patched_under_the_other():
    ours = import_module("nemo_gym_lite.openai_utils")

    with patch("nemo_gym.openai_utils.RETRY_ERROR_CODES", (418,)):
        assert ours.RETRY_ERROR_CODES == (418,)
    assert 500 in ours.RETRY_ERROR_CODES


def test_a_module_that_we_lack_is_missed_under_the_name_that_was_asked_for():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'nemo_gym\.telepathy'"):
        import_module("nemo_gym.telepathy")


def test_installing_it_twice_changes_nothing():
    before = [*sys.meta_path]
    alias.install()

    assert sys.meta_path == before


def test_importing_the_package_loads_and_changes_nothing():
    code = """
        import builtins, os, sys
        before = dict(os.environ), builtins.print, list(sys.path), list(sys.meta_path)
        import nemo_gym_lite
        assert before == (dict(os.environ), builtins.print, list(sys.path), list(sys.meta_path))
        assert not {"pydantic", "asyncio", "aiohttp", "nemo_gym_lite.clients"} & set(sys.modules)
        assert nemo_gym_lite.SESSION_ID_KEY == "session_id"
        assert "nemo_gym" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


async def greeting(workspace, *more):
    """What the server answers to `GET /`."""
    port = free_port()
    words = [f"++foreign.resources_servers.foreign.port={port}", *more]
    async with (
        running(workspace, "foreign.yaml", more=words),
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/") as reply,
    ):
        return await reply.json()


def test_environments_tests_may_hand_their_clients_cookies_of_httpx(tmp_path):
    code = """
        import httpx
        from fastapi.testclient import TestClient

        def test_it():
            assert issubclass(TestClient, httpx.Client)
    """
    (tmp_path / "test_it.py").write_text(textwrap.dedent(code))
    command = [sys.executable, "-m", "pytest", "-p", "nemo_gym_lite.alias", "-c", "/dev/null", "--rootdir", tmp_path]

    subprocess.run([*command, tmp_path], check=True, capture_output=True)


async def test_an_installed_nemo_gym_is_hidden_unless_it_is_preferred(foreign):
    installed_nemo_gym(foreign)

    assert (await greeting(foreign))["status"] == "ok"
    preferred = await greeting(foreign, "+use_installed_nemo_gym=true")
    assert preferred["said_by"] == "NeMo Gym itself"
    assert preferred["block"]["note"] == "costs \\${much}"


async def test_preferring_a_nemo_gym_that_is_not_installed_is_told_before_anything_starts(foreign):
    run = await foreign.run("run", "+config_paths=[foreign.yaml]", "+use_installed_nemo_gym=true")

    assert run.code == 2
    assert "use_installed_nemo_gym=true: NeMo Gym is not installed" in run.err
    assert "hint: pip install nemo-gym" in run.err
