"""Which endpoints are called directly, and that nobody can tell by the replies."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from fastapi import Body, Depends, FastAPI, Header, Request, Response
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field

from nemo_gym_lite.serving.app import ServerApp
from nemo_gym_lite.serving.calls import PlainCall


class Arguments(BaseModel):
    city: str
    days: int = Field(default=1, ge=1)


class Reply(BaseModel):
    city: str
    rain: float | None = None


class RichReply(Reply):
    secret: str = "not declared"


async def typed(body: Arguments) -> Reply:
    return Reply(city=body.city)


async def with_request(request: Request, body: Arguments) -> Reply:
    return Reply(city=f"{request.method} {body.city}")


async def with_body_default(body: Arguments = Body()) -> Reply:  # noqa: B008
    return Reply(city=body.city)


async def untyped_reply(body: dict[str, Any]):
    return {"got": body, "price": Decimal("1.5"), "at": datetime(2026, 1, 2, 3, 4, 5, 678, UTC), 1: {1, 2}}


async def any_reply(body: dict[str, Any]) -> Any:
    return {"got": body, "at": datetime(2026, 1, 2, 3, 4, 5, 678, UTC), "model": RichReply(city="Oslo")}


async def any_model(body: Arguments) -> Any:
    return RichReply(city=body.city)


async def untyped_model(body: Arguments):
    return RichReply(city=body.city)


async def big_integer(body: Arguments):
    return [2**70, float(body.days)]


async def dict_for_model(body: Arguments) -> Reply:
    return {"city": body.city, "rain": "0.5"}


async def subclass_of_reply(body: Arguments) -> Reply:
    return RichReply(city=body.city)


async def only_request(request: Request) -> dict:
    return {"read": await request.json()}


async def rereads(request: Request, body: dict) -> dict:
    return {"same": await request.json() == body}


async def own_response(body: Arguments) -> Response:
    return Response("as it is", media_type="text/plain", status_code=202)


def blocking(body: Arguments) -> Reply:
    return Reply(city=body.city)


async def nothing() -> Reply:
    return Reply(city="none")


async def fails(body: dict):
    raise KeyError("x")


PLAIN = [
    typed,
    with_request,
    with_body_default,
    untyped_reply,
    any_reply,
    any_model,
    untyped_model,
    big_integer,
    dict_for_model,
    subclass_of_reply,
    only_request,
    rereads,
    own_response,
    blocking,
    nothing,
]


async def with_query(body: Arguments, page: int = 1) -> Reply: ...
async def with_header(body: Arguments, token: Annotated[str, Header()]) -> Reply: ...
async def with_dependency(body: Arguments, who: str = Depends(lambda: "x")) -> Reply: ...
async def with_two_bodies(first: Arguments, second: Reply) -> Reply: ...
async def with_embedded_body(body: Arguments = Body(embed=True)) -> Reply: ...  # noqa: B008
async def with_optional_body(body: Arguments | None = None) -> Reply: ...
async def with_response(body: Arguments, response: Response) -> Reply: ...
async def streaming(body: Arguments):
    yield "part"


FASTAPIS = [
    with_query,
    with_header,
    with_dependency,
    with_two_bodies,
    with_embedded_body,
    with_optional_body,
    with_response,
    streaming,
]


@pytest.mark.parametrize("endpoint", PLAIN)
def test_an_endpoint_with_at_most_a_request_and_a_body_is_called_directly(endpoint):
    assert PlainCall.of(endpoint) is not None


@pytest.mark.parametrize("endpoint", FASTAPIS)
def test_an_endpoint_that_needs_more_stays_fastapis(endpoint):
    assert PlainCall.of(endpoint) is None


BODIES = [
    b'{"city": "Oslo"}',
    b'{"city": "Oslo", "days": "3", "more": 1}',
    b'{"city": "Oslo", "days": 0}',
    b'{"days": 99999999999999999999}',
    b'{"city": 5}',
    b'{"city": "\\ud800"}',
    b"[1, 2]",
    b"null",
    b'"text"',
    b'{"city": ',
    b"",
    b"\xff\xfe",
]


@pytest.fixture(scope="module")
def both():
    ours, theirs = ServerApp(), FastAPI()
    for app in (ours, theirs):
        for endpoint in PLAIN:
            app.post(f"/{endpoint.__name__}")(endpoint)
    with (
        TestClient(ours, raise_server_exceptions=False) as first,
        TestClient(theirs, raise_server_exceptions=False) as second,
    ):
        yield first, second


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
@pytest.mark.parametrize("endpoint", PLAIN)
def test_replies_are_fastapis_to_the_byte(both, endpoint, content_type):
    for body in BODIES:
        ours, theirs = (
            app.post(f"/{endpoint.__name__}", content=body, headers={"content-type": content_type}) for app in both
        )

        assert (ours.status_code, ours.text) == (theirs.status_code, theirs.text)
        assert ours.headers.get("content-type") == theirs.headers.get("content-type")


@pytest.mark.parametrize("caught", [KeyError, Exception])
def test_an_authors_exception_handlers_see_every_route(caught):
    app = ServerApp()
    app.post("/fails")(fails)

    @app.exception_handler(caught)
    async def explain(request, error):
        return Response(f"no {error}", status_code=404)

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/fails", json={}).text == "no 'x'"


def test_an_authors_middleware_sees_every_route():
    app, seen = ServerApp(), []
    app.post("/typed")(typed)

    @app.middleware("http")
    async def watch(request, call_next):
        seen.append(request.url.path)
        return await call_next(request)

    with TestClient(app) as client:
        assert client.post("/typed", json={"city": "Oslo"}).status_code == 200
    assert seen == ["/typed"]


def test_a_catch_all_that_was_added_first_gets_what_it_matches():
    app = ServerApp()
    app.post("/{name}")(nothing)
    app.post("/typed")(typed)

    with TestClient(app) as client:
        assert client.post("/typed", json={"city": "Oslo"}).json()["city"] == "none"


def test_a_number_that_json_does_not_have_becomes_null():
    assert PlainCall.of(untyped_reply).dump([float("nan"), float("inf")]) == b"[null,null]"


def test_an_untyped_reply_may_leave_out_the_echo():
    call = PlainCall.of(untyped_reply)

    model = type("Reply", (BaseModel,), {"__annotations__": {"response": int, "reward": float}})
    assert call.dump(model(response=1, reward=0.5), delta=True) == b'{"reward":0.5}'
    assert call.dump({"response": 1, "responses_create_params": 2, "reward": 1}, delta=True) == b'{"reward":1}'
