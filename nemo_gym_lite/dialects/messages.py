"""Anthropic Messages → Responses create params, and a Responses object → the Messages reply.

`stop_sequences`, `top_k`, `thinking` and what is for the service's books have no counterpart and are left out.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects.settings import bad_reply, bad_request

_SAME = {"model": "model", "max_tokens": "max_output_tokens", "temperature": "temperature", "top_p": "top_p"}
_CHOICES = {"auto": "auto", "none": "none", "any": "required"}
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_RAW = "_raw"
_STOPS = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}


def to_params(body: Json) -> Json:
    """Return the Responses create params that ask what a Messages request asks.

    Raises:
        FailedCallError: `bad_request`, terminal: a block has no counterpart, or the request is malformed.
    """
    try:
        params: Json = {"input": [item for message in body["messages"] for item in _items(message)]}
        params |= {ours: body[theirs] for theirs, ours in _SAME.items() if body.get(theirs) is not None}
        if instructions := _joined_text(body.get("system"), "system block"):
            params["instructions"] = instructions
        if tools := body.get("tools"):
            params["tools"] = [_tool(tool) for tool in tools]
        if choice := body.get("tool_choice"):
            params["tool_choice"] = _tool_choice(choice)
            if choice.get("disable_parallel_tool_use"):
                params["parallel_tool_calls"] = False
    except (KeyError, TypeError, AttributeError) as error:
        raise bad_request(f"the Messages request is malformed: {error!r}") from error
    return params


def to_message(response: Json, model: str) -> Json:
    """Return the Messages reply that says what a Responses object says; token ids are left out.

    Args:
        response: The object; not changed.
        model: Name that the reply tells, usually the one that was asked for.

    Raises:
        FailedCallError: `bad_reply`: an output item has no counterpart.
    """
    content = [block for item in response["output"] for block in _blocks(item)]
    usage = response.get("usage") or {}
    calls = any(block["type"] == "tool_use" for block in content)
    reason = (response.get("incomplete_details") or {}).get("reason") or ""
    return {
        "id": _id("msg"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": _STOPS.get(reason) or ("tool_use" if calls else "end_turn"),
        "stop_sequence": None,
        "usage": {name: usage.get(name) or 0 for name in ("input_tokens", "output_tokens")},
    }


def _items(message: Json) -> Iterator[Json]:
    """The Responses items of a message: what stands between calls, results and thoughts is one message."""
    role, content = message["role"], message["content"]
    if isinstance(content, str):
        yield {"type": "message", "role": role, "content": content}
        return
    parts: list[Json] = []
    for block in content:
        if part := _part(block):
            parts.append(part)
            continue
        yield from _messages(role, parts)
        parts = []
        yield _item(block)
    yield from _messages(role, parts)


def _messages(role: str, parts: list[Json]) -> Iterator[Json]:
    if role == "assistant" or (len(parts) == 1 and "text" in parts[0]):  # input parts are not the assistant's to say
        for part in parts:
            yield {"type": "message", "role": role, "content": part["text"]}
    elif parts:
        yield {"type": "message", "role": role, "content": parts}


def _part(block: Json) -> Json | None:
    kind = block["type"]
    if kind == "text":
        return {"type": "input_text", "text": block["text"]}
    if kind != "image":
        return None
    source = block["source"]
    if source["type"] != "base64" or source["media_type"] not in _IMAGES:
        told = source.get("media_type") or source["type"]
        raise bad_request(f"image of {told!r}: only base64 of {', '.join(_IMAGES)} can be sent")
    url = f"data:{source['media_type']};base64,{source['data']}"
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def _item(block: Json) -> Json:
    kind = block["type"]
    if kind == "tool_use":
        arguments = block.get("input") or {}
        # spaces where models put them, as the text is what they see of their own call
        text = arguments[_RAW] if arguments.keys() == {_RAW} else json.dumps(arguments, ensure_ascii=False)
        call = {"type": "function_call", "call_id": block["id"], "name": block["name"], "arguments": text}
        return {**call, "id": block["id"], "status": "completed"}
    if kind == "tool_result":
        output = _joined_text(block.get("content"), "tool_result")
        return {"type": "function_call_output", "call_id": block["tool_use_id"], "output": output}
    if kind == "thinking":
        thought = {"type": "summary_text", "text": block["thinking"]}
        return {
            "type": "reasoning",
            "id": _id("rs"),
            "summary": [thought],
            "encrypted_content": block.get("signature") or None,
        }
    raise bad_request(f"content block of type {kind!r} has no counterpart in Responses")


def _joined_text(content: str | list[Json] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if others := sorted({block["type"] for block in content} - {"text"}):
        raise bad_request(f"{where} with {', '.join(others)}: only text can be sent")
    return "\n".join(block["text"] for block in content)


def _tool(tool: Json) -> Json:
    parameters = tool.get("input_schema") or {"type": "object", "properties": {}}
    function = {"type": "function", "name": tool["name"], "parameters": parameters, "strict": False}
    return function | ({"description": tool["description"]} if tool.get("description") else {})


def _tool_choice(choice: Json) -> str | Json:
    if choice["type"] == "tool":
        return {"type": "function", "name": choice["name"]}
    if choice["type"] not in _CHOICES:
        raise bad_request(f"tool_choice of type {choice['type']!r}: expected auto, none, any or tool")
    return _CHOICES[choice["type"]]


def _blocks(item: Json) -> Iterator[Json]:
    kind = item.get("type")
    if kind == "message":
        for part in item.get("content") or ():
            yield {"type": "text", "text": part.get("text") or part.get("refusal") or ""}
    elif kind == "reasoning":
        for part in item.get("summary") or item.get("content") or ():
            yield {"type": "thinking", "thinking": part["text"], "signature": item.get("encrypted_content") or ""}
    elif kind == "function_call":
        yield {"type": "tool_use", "id": item["call_id"], "name": item["name"], "input": _arguments(item["arguments"])}
    else:
        raise bad_reply(f"output item of type {kind!r} has no counterpart in Messages")


def _arguments(text: str) -> Json:
    """Arguments as an object; a text that is none is for the harness to refuse and for the model to mend."""
    try:
        arguments: Any = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    return arguments if isinstance(arguments, dict) else {_RAW: text}


def _id(prefix: str) -> str:
    return f"{prefix}_{os.urandom(16).hex()}"
