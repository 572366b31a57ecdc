"""The three dialects in which a model server is asked, each answered whole or, where a client streams, as a stream."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects.messages import to_message, to_params
from nemo_gym_lite.dialects.sse import chat_stream, failed_response_stream, message_stream, responses_stream
from nemo_gym_lite.dialects.streamed import plain_chat, plain_responses

Check = Callable[[Json], Any]
"""Validates a body and returns what the model is asked with; raises RequestValidationError."""

Ask = Callable[[Any], Awaitable[Any]]
"""Asks the model; the answer is a pydantic model, a JSON object, or a whole reply."""

_log = logging.getLogger(__name__)


async def answer_responses(body: Json, check: Check, ask: Ask, takes_tool: Callable[[Json], bool]) -> Response:
    """Answer `POST /v1/responses`.

    A client that streams has its answer's form before it has the answer, so a failure is told in the stream, with
    status 200. Only what does not validate is refused.
    """
    if not body.get("stream"):
        return _json(await ask(check(body)))
    params, namespaces = plain_responses(body, takes_tool)
    asked = check(params)
    try:
        return _stream(responses_stream(_plain(await ask(asked)), namespaces))
    except Exception as error:  # whatever a model server's code raises is told in the stream
        _log.error("a streaming request failed", exc_info=error)
        return _stream(failed_response_stream(str(error) or repr(error)))


async def answer_chat(body: Json, check: Check, ask: Ask) -> Response:
    """Answer `POST /v1/chat/completions`; only the literal `stream: true` streams."""
    if body.get("stream") is not True:
        return _json(await ask(check(body)))
    plain, with_usage = plain_chat(body)
    return _stream(chat_stream(_plain(await ask(check(plain))), with_usage=with_usage))


async def answer_messages(body: Json, check: Check, ask: Ask) -> Response:
    """Answer `POST /v1/messages` through the model's Responses side."""
    response = _plain(await ask(check(to_params(body))))
    message = to_message(response, body.get("model") or response.get("model") or "")
    return _stream(message_stream(message)) if body.get("stream") else _json(message)


def validated(model: type[BaseModel], body: Json) -> BaseModel:
    """`body` as a pydantic model.

    Raises:
        RequestValidationError: It does not fit; the reply is FastAPI's own.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in details]) from error


def _plain(answer: Any) -> Json:
    if isinstance(answer, BaseModel):
        return answer.model_dump(mode="json")
    if isinstance(answer, Response):
        answer = orjson.loads(answer.body)
    return dict(answer)


def _json(answer: Any) -> Response:
    if isinstance(answer, Response):
        return answer
    body = answer.model_dump_json().encode() if isinstance(answer, BaseModel) else orjson.dumps(answer)
    return Response(body, media_type="application/json")


def _stream(events: bytes) -> Response:
    return Response(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
