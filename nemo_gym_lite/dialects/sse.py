"""Whole answers as event streams, for clients that read nothing else; every event is there from the start.

The minimum that such clients need: an event when it begins, one for each part, and one at the end with the usage.
"""

import os
from collections.abc import Iterable, Iterator

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects.streamed import Namespaces

_COUNTS = (("input_tokens_details", "cached_tokens"), ("output_tokens_details", "reasoning_tokens"))
_EMPTY: dict[str, Json] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


def responses_stream(response: Json, namespaces: Namespaces) -> bytes:
    """Return a Responses object as its stream: `created`, one `output_item.done` for each item, `completed`.

    Args:
        response: The object; not changed.
        namespaces: Calls of these functions get their namespace back; see `plain_responses`.
    """
    output = [_with_namespace(item, namespaces) for item in response["output"]]
    whole = {**response, "output": output, "usage": _counted(response.get("usage"))}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    items = [
        {"type": "response.output_item.done", "output_index": index, "item": item} for index, item in enumerate(output)
    ]
    return _numbered(
        [{"type": "response.created", "response": begun}, *items, {"type": "response.completed", "response": whole}]
    )


def failed_response_stream(message: str) -> bytes:
    """Return the stream of a response that failed: `created`, `failed`."""
    begun: Json = {"id": f"resp_{os.urandom(16).hex()}", "object": "response", "status": "in_progress", "output": []}
    failed = {**begun, "status": "failed", "error": {"code": "server_error", "message": message}}
    return _numbered([{"type": "response.created", "response": begun}, {"type": "response.failed", "response": failed}])


def chat_stream(completion: Json, *, with_usage: bool) -> bytes:
    """Return a Chat completion as its stream of chunks, closed by `[DONE]`.

    Token ids and log probabilities have no place in it.

    Args:
        completion: The object; not changed.
        with_usage: Whether the usage goes into a chunk of its own at the end.
    """
    shared = {name: completion.get(name) for name in ("id", "created", "model")}
    shared["object"] = "chat.completion.chunk"
    if fingerprint := completion.get("system_fingerprint"):
        shared["system_fingerprint"] = fingerprint
    chunks = [{**shared, "choices": [delta]} for choice in completion["choices"] for delta in _deltas(choice)]
    if with_usage and completion.get("usage"):
        chunks.append({**shared, "choices": [], "usage": completion["usage"]})
    return b"".join(b"data: %s\n\n" % orjson.dumps(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def message_stream(message: Json) -> bytes:
    """Return a Messages reply as its stream: `message_start`, three events for each block, delta, `message_stop`."""
    begun = {**message, "content": [], "stop_reason": None}
    return b"".join(map(_event, [{"type": "message_start", "message": begun}, *_blocks(message), *_end(message)]))


def _blocks(message: Json) -> Iterator[Json]:
    for index, block in enumerate(message["content"]):
        begun = _EMPTY.get(block["type"]) or {**block, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        for delta in _block_deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}


def _block_deltas(block: Json) -> Iterator[Json]:
    if block["type"] == "text":
        yield {"type": "text_delta", "text": block["text"]}
    elif block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        if block["signature"]:
            yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        yield {"type": "input_json_delta", "partial_json": orjson.dumps(block["input"]).decode()}


def _end(message: Json) -> Iterator[Json]:
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]}
    usage = {"output_tokens": message["usage"]["output_tokens"]}
    yield {"type": "message_delta", "delta": delta, "usage": usage}
    yield {"type": "message_stop"}


def _deltas(choice: Json) -> Iterator[Json]:
    index, message = choice.get("index") or 0, choice["message"]
    thought = message.get("reasoning_content") or message.get("reasoning")
    texts = {"reasoning_content": thought, "content": message.get("content"), "refusal": message.get("refusal")}
    calls = [{"index": at, **call} for at, call in enumerate(message.get("tool_calls") or ())]
    parts = [{"role": message.get("role") or "assistant"}]
    parts += [{name: text} for name, text in texts.items() if text]
    parts += [{"tool_calls": calls}] if calls else []
    for part in parts:
        yield {"index": index, "delta": part, "finish_reason": None}
    yield {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}


def _with_namespace(item: Json, namespaces: Namespaces) -> Json:
    if item.get("type") == "function_call" and item["name"] in namespaces:
        namespace, name = namespaces[item["name"]]
        return {**item, "namespace": namespace, "name": name}
    return item


def _counted(usage: Json | None) -> Json | None:
    """Counts that nobody told as 0: clients that read streams take a null for a broken one and ask again."""
    if usage is None:
        return None
    counted = dict(usage)
    for group, name in _COUNTS:
        details = usage.get(group) or {}
        counted[group] = {**details, name: details.get(name) or 0}
    return counted


def _numbered(events: Iterable[Json]) -> bytes:
    return b"".join(_event({**event, "sequence_number": number}) for number, event in enumerate(events))


def _event(event: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event))
