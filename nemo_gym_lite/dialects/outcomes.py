"""What is neither an answer nor a failure: a prompt too long for the model, a thought that goes nowhere."""

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects.settings import DialectSettings


def is_context_overflow(status: int | None, error_body: bytes) -> bool:
    """Whether a refusal says that the prompt, or the answer asked for, does not fit into the model."""
    return status == 400 and (b"context length" in error_body or b"max_tokens" in error_body)


def ends_without_call(body: Json, settings: DialectSettings) -> bool:
    """Whether a prepared body ends with an assistant that said nothing, and the model may not go on."""
    if settings.sequential_reasoning_allowed:
        return False
    last = body["messages"][-1] if body["messages"] else {}
    return last.get("role") == "assistant" and not last.get("content") and not last.get("tool_calls")


def empty_chat(model: str, finish_reason: str, created_at_s: float) -> Json:
    """Return a Chat completion that says nothing; `finish_reason` is `length` or `content_filter`."""
    message = {"role": "assistant", "content": None, "tool_calls": None}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
    return {
        "id": "chtcmpl-123",
        "choices": [choice],
        "created": int(created_at_s),
        "model": model,
        "object": "chat.completion",
        "usage": None,
    }
