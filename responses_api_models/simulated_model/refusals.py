"""What vLLM refuses, in vLLM's words: clients look for them, so they are copied from recorded replies."""

from typing import Any

import orjson

from nemo_gym_lite.errors import EndpointError


def error_body(status: int, message: str, kind: str, param: str | None = None) -> dict[str, Any]:
    """vLLM's shape of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def refusal(message: str, param: str | None = None, status: int = 400, kind: str = "BadRequestError") -> EndpointError:
    """The error to raise for a request that gets an error reply; its `status` and `body` are the reply's."""
    body = orjson.dumps(error_body(status, message, kind, param))
    return EndpointError("bad_request", message, retryable=False, status=status, body=body)


def invalid_body(place: str, kind: str, message: str) -> EndpointError:
    """The refusal of a body that does not validate."""
    problem = {"type": kind, "loc": place, "msg": message}
    return refusal(f"1 validation error:\n  {problem}", place, kind="Bad Request")


def unknown_model(model: object, models: tuple[str, ...]) -> EndpointError:
    """The refusal of a model name that is not served."""
    message = f"The model `{model}` does not exist. Valid aliases: {', '.join(models)}."
    return refusal(message, "model", 404, "NotFoundError")


def unanswerable_limit(max_tokens: int, max_model_len: int) -> EndpointError:
    """The refusal of a `max_tokens` that is less than 1 or more than the model's length."""
    at_fault = f"(parameter=max_tokens, value={max_tokens})"
    if max_tokens < 1:
        return refusal(f"max_tokens must be at least 1, got {max_tokens}. {at_fault}", "max_tokens")
    message = f"max_tokens={max_tokens} cannot be greater than max_model_len={max_model_len}."
    return refusal(f"{message} Please request fewer output tokens. {at_fault}", "max_tokens")


def over_long_prompt(max_model_len: int) -> EndpointError:
    """The refusal of a prompt that leaves no room for an answer."""
    message = (
        f"This model's maximum context length is {max_model_len} tokens. However, your prompt contains at "
        f"least {max_model_len + 1} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt. "
        f"(parameter=input_tokens, value={max_model_len + 1})"
    )
    return refusal(message, "input_tokens")


def full_queue() -> EndpointError:
    """The refusal of a server whose queue is full."""
    message = (
        "The engine is currently busy and cannot accept new requests. "
        "Please try again later or on a different instance."
    )
    body = orjson.dumps(error_body(503, message, "Service Unavailable"))
    return EndpointError("server_error", message, retryable=True, status=503, body=body)
