"""Chat completion → Responses object, with the same fields as `NeMoGymResponse` dumps."""

import os
from typing import Any

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects import reasoning
from nemo_gym_lite.dialects.settings import DialectSettings, bad_reply
from nemo_gym_lite.dialects.token_bundle import token_bundle
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.responses_types import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming

_BLANK: Json = dict.fromkeys(NeMoGymResponse.model_fields) | {
    "object": "response",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
}
_ECHOED = tuple(
    name
    for name in NeMoGymResponseCreateParamsNonStreaming.model_fields
    if name in NeMoGymResponse.model_fields and name != "model"
)
_INCOMPLETE_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


def to_response(chat: Json, params: Json, settings: DialectSettings) -> Json:
    """Return the Responses object of the first choice of `chat`, which answers `params`. Neither is changed.

    Raises:
        FailedCallError: `bad_reply`: the reply lacks what it must have or contradicts itself;
            `server_error`: the engine aborted the answer, so its text is not what the model would have said.
    """
    try:
        choice = chat["choices"][0]
        finish_reason = choice.get("finish_reason")
        if finish_reason == "abort":
            raise FailedCallError("server_error", "the engine aborted the answer before its end")
        output = output_items(choice["message"], settings)
        if settings.return_token_id_information:
            output[-1] |= token_bundle(chat)
        elif params.get("top_logprobs"):
            _attach_logprobs(output, choice)
        usage = to_usage(chat.get("usage"))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise bad_reply(f"the chat completion is malformed: {error!r}") from error
    reason = _INCOMPLETE_REASONS.get(finish_reason)
    response = _blank(params, settings, output, chat.get("created") or 0)
    response["usage"] = usage
    return _incomplete(response, reason) if reason else response


def empty_response(params: Json, settings: DialectSettings, reason: str, created_at_s: float) -> Json:
    """Return an incomplete response with one empty message, the answer to a prompt too long for the model."""
    return _incomplete(_blank(params, settings, [_message("")], created_at_s), reason)


def output_items(message: Json, settings: DialectSettings) -> list[Json]:
    """Return what an assistant message says as Responses items: reasoning, then text, then calls."""
    content = message.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text") or "" for part in content)
    thought = message.get("reasoning_content") or message.get("reasoning")
    items: list[Json] = []
    if settings.uses_reasoning_parser:
        blocks, content = reasoning.split(content)
        if thought:
            blocks.insert(0, thought)
        if blocks:
            items.append(_reasoning_item(blocks))
    elif thought:
        raise bad_reply(
            "the engine separates reasoning from text, which the model's configuration does not expect",
            "set `uses_reasoning_parser: true` on the model server",
        )
    calls = message.get("tool_calls") or ()
    if content or not (items or calls):
        items.append(_message(content))
    items += [_function_call(call) for call in calls]
    return items


def to_usage(usage: Json | None) -> Json | None:
    """Return a completion's usage in Responses form; a detail that the engine leaves out is null, never 0."""
    if not usage:
        return None
    inputs, outputs = usage["prompt_tokens"], usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    for name in ("cached_input_tokens", "cache_read_input_tokens"):
        cached = usage.get(name) if cached is None else cached
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    if thought is None:
        thought = usage.get("reasoning_output_tokens")
    total = usage.get("total_tokens")
    return {
        "input_tokens": inputs,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": outputs,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": inputs + outputs if total is None else total,
    }


def _blank(params: Json, settings: DialectSettings, output: list[Json], created_at_s: float) -> Json:
    response = _BLANK.copy()
    for name in _ECHOED:
        if (value := params.get(name)) is not None:
            response[name] = value
    response["id"] = _id("resp")
    response["created_at"] = float(created_at_s)
    response["model"] = settings.model
    response["output"] = output
    response["tools"] = params.get("tools") or []
    response["status"] = "completed"
    return response


def _incomplete(response: Json, reason: str) -> Json:
    return response | {"status": "incomplete", "incomplete_details": {"reason": reason}}


def _id(prefix: str) -> str:
    # not from `random`: an environment that seeds it would make ids repeat
    return f"{prefix}_{os.urandom(16).hex()}"


def _message(text: str) -> Json:
    part: dict[str, Any] = {"annotations": [], "text": text, "type": "output_text", "logprobs": None}
    return {"id": _id("msg"), "content": [part], "role": "assistant", "status": "completed", "type": "message"}


def _reasoning_item(blocks: list[str]) -> Json:
    return {
        "id": _id("rs"),
        "summary": [{"text": block, "type": "summary_text"} for block in blocks],
        "type": "reasoning",
        "encrypted_content": None,
    }


def _function_call(call: Json) -> Json:
    function = call["function"]
    return {
        "arguments": function["arguments"],
        "call_id": call["id"],
        "name": function["name"],
        "type": "function_call",
        "id": call["id"],
        "status": "completed",
    }


def _attach_logprobs(output: list[Json], choice: Json) -> None:
    entries = (choice.get("logprobs") or {}).get("content")
    for item in output:
        if item["type"] == "message":
            item["content"][0]["logprobs"] = entries
