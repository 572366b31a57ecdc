"""Calls to a judge model, whose failure is never a wrong answer."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.responses import JSONResponse

from nemo_gym_lite.errors import JudgeError
from nemo_gym_lite.row_fields import FAILURE_CLASS, JUDGE_ERROR
from nemo_gym_lite.server_utils import ServerClient, get_response_json, raise_for_status
from nemo_gym_lite.serving.failures import failure_of

__all__ = ["JudgeError", "call_judge", "judge_failsafe", "reraise_judge_errors"]

_Result = TypeVar("_Result")
_Model = TypeVar("_Model", bound=BaseModel)


async def reraise_judge_errors(awaitable: Awaitable[_Result]) -> _Result:
    """Await a judge's call.

    Raises:
        JudgeError: The call failed, however it did, or its reply was no reply of a model.
    """
    try:
        return await awaitable
    except JudgeError:
        raise
    except Exception as error:  # an environment's own client raises what it likes; none of it is a verdict
        raise JudgeError(*_told(error)) from error


def _told(error: Exception) -> tuple[str, str]:
    """Message and hint of a failure, in the words of the reply if there was one."""
    content, status = getattr(error, "response_content", b""), getattr(error, "status", None)
    if not content or not isinstance(status, int):
        return f"the judge's call failed: {error!r}", ""
    failure = failure_of(status, content, "judge_failed", "its server")
    return f"the judge's call failed: {failure.message}", failure.hint


async def call_judge(
    server_client: ServerClient, *, server_name: str, url_path: str, json: Any, response_model: type[_Model]
) -> _Model:
    """Ask the judge model `server_name`.

    Raises:
        JudgeError: The call failed. A judge's text that cannot be understood is the environment's to handle.
    """

    async def call() -> _Model:
        response = await server_client.post(server_name=server_name, url_path=url_path, json=json)
        await raise_for_status(response)
        return response_model.model_validate(await get_response_json(response))

    return await reraise_judge_errors(call())


def judge_failsafe(verify: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a `JudgeError` of `verify` into a reply that says so; the signature stays the same.

    The reply has status 200 and reward 0.0, as callers of NeMo Gym expect, with `_ng_failure_class` set.
    Our own clients raise `JudgeError` when they see it.
    """
    if inspect.iscoroutinefunction(verify):

        @functools.wraps(verify)
        async def safe(*args: Any, **kwargs: Any) -> Any:
            try:
                return await verify(*args, **kwargs)
            except JudgeError as error:
                return _failed_reply(error, [*args, *kwargs.values()])

        return safe

    @functools.wraps(verify)
    def safe_and_blocking(*args: Any, **kwargs: Any) -> Any:
        try:
            return verify(*args, **kwargs)
        except JudgeError as error:
            return _failed_reply(error, [*args, *kwargs.values()])

    return safe_and_blocking


def _failed_reply(error: JudgeError, arguments: list[Any]) -> JSONResponse:
    body = next((value for value in arguments if isinstance(value, BaseModel)), None)
    echo = body.model_dump(mode="json") if body is not None else {}
    failure = {
        "reward": 0.0,
        FAILURE_CLASS: error.failure_class,
        JUDGE_ERROR: error.message,
    }
    return JSONResponse(echo | failure)
