"""What every reply of every server has in common: a session cookie, and JSON even when the code breaks."""

import json

import aiohttp
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.middleware.sessions import SessionMiddleware as StarlettesSessions

from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.rollout_correlation import RolloutContextMiddleware
from nemo_gym_lite.serving.middleware import (
    SESSION_ID_KEY,
    JsonErrorMiddleware,
    SessionMiddleware,
    run_secret,
)


def app_with(*middlewares):
    app = FastAPI()
    for cls, options in middlewares:
        app.add_middleware(cls, **options)

    @app.get("/who")
    async def who(request: Request):
        return dict(request.session)

    @app.get("/keep/{word}")
    async def keep(request: Request, word: str):
        request.session["word"] = word

    @app.get("/raise/{what}")
    async def fail(what: str):
        if what == "inner":
            error = aiohttp.ClientResponseError(None, (), status=500)
            error.response_content = b"the inner reply"
            raise error
        raise FailedCallError(what, "no answer", "try again") if what != "bug" else KeyError("x")

    return app


SESSIONS = (SessionMiddleware, {"cookie": "Weather___wx", "secret": "s1"})


@pytest.fixture
def client():
    with TestClient(app_with(SESSIONS)) as client:
        yield client


def test_every_reply_sets_the_cookie(client):
    for path in ("/who", "/who", "/no/such/path"):
        header = client.get(path).headers["set-cookie"]

        assert header.startswith("Weather___wx=")
        assert header.endswith("; path=/; Max-Age=1209600; httponly; samesite=lax")


def test_a_cookie_brings_the_session_back(client):
    first = client.get("/who").json()

    assert client.get("/who").json() == first
    assert len(first[SESSION_ID_KEY]) == 36


def test_a_caller_without_the_cookie_begins_a_session_of_its_own(client):
    first = client.get("/who").json()
    client.cookies.clear()

    assert client.get("/who").json() != first


def test_what_a_route_puts_into_the_session_stays(client):
    client.get("/keep/hello")

    assert client.get("/who").json()["word"] == "hello"


@pytest.mark.parametrize("forged", ["", "x", "eyJzZXNzaW9uX2lkIjogIjEifQ==.aaaaaa.bbbb", "é", '"; drop'])
def test_a_cookie_that_we_did_not_sign_is_ignored(client, forged):
    reply = client.get("/who", headers={"cookie": f"Weather___wx={forged}".encode()})

    assert reply.status_code == 200
    assert len(reply.json()[SESSION_ID_KEY]) == 36


def test_a_cookie_of_another_secret_is_ignored(client):
    with TestClient(app_with((SessionMiddleware, {"cookie": "Weather___wx", "secret": "s2"}))) as other:
        cookie = other.get("/who").cookies["Weather___wx"]
        theirs = other.get("/who").json()

    assert client.get("/who", headers={"cookie": f"Weather___wx={cookie}"}).json() != theirs


def test_cookies_are_starlettes(client):
    starlettes = (StarlettesSessions, {"session_cookie": "Weather___wx", "secret_key": "s1"})
    with TestClient(app_with(starlettes)) as other:
        other.get("/keep/hello")
        client.cookies.update(other.cookies)
        assert client.get("/who").json()["word"] == "hello"

        other.cookies = client.cookies
        assert other.get("/who").json() == client.get("/who").json()


def test_the_secret_is_the_runs(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("of the run\n")
    monkeypatch.setenv("NEMO_GYM_LITE_SECRET_FILE", str(tmp_path / "secret"))
    run_secret.cache_clear()

    assert run_secret() == "of the run"
    run_secret.cache_clear()


def test_a_server_outside_a_run_has_a_secret_of_its_own(monkeypatch):
    monkeypatch.delenv("NEMO_GYM_LITE_SECRET_FILE", raising=False)
    run_secret.cache_clear()

    assert len(run_secret()) == 64
    assert run_secret() == run_secret()


@pytest.mark.parametrize("prefix", ["/ng-rollout/1-0", "/ng-rollout/a.b_c/training-token-capture", ""])
def test_any_path_may_have_a_rollout_prefix(prefix):
    with TestClient(app_with(SESSIONS, (RolloutContextMiddleware, {}))) as client:
        assert client.get(f"{prefix}/who").status_code == 200


@pytest.fixture
def served():
    with TestClient(app_with(SESSIONS, (JsonErrorMiddleware, {"server": "Weather___wx"}))) as client:
        yield client


def test_a_bug_is_a_500_with_the_error_as_a_json_string(served, caplog):
    reply = served.get("/raise/bug")

    assert (reply.status_code, reply.json()) == (500, "KeyError('x')")
    assert "Weather___wx failed" in caplog.text


def test_an_inner_servers_error_is_passed_on(served, caplog):
    text = "Hit an exception in Weather___wx calling an inner server: b'the inner reply'"

    assert served.get("/raise/inner").json() == text


@pytest.mark.parametrize(
    ("failure_class", "status"),
    [("rate_limited", 429), ("bad_request", 400), ("timeout", 504), ("unreachable", 502), ("judge_failed", 502)],
)
def test_a_failed_call_keeps_its_class(served, failure_class, status):
    reply = served.get(f"/raise/{failure_class}")

    assert reply.status_code == status
    error = {"class": failure_class, "message": "no answer", "hint": "try again", "terminal": False}
    assert json.loads(reply.content) == {"error": error}
