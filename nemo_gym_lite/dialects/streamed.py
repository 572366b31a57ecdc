"""Requests of clients that stream, made into those that a model server knows.

Such clients send what only their own service understands: fields for its books, tools in namespaces, items of tools
that it runs itself. A conversation without them is worth more than none, so they are left out, and that is told once.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from nemo_gym_lite.chat_types import NeMoGymChatCompletionCreateParamsNonStreaming
from nemo_gym_lite.clients import Json
from nemo_gym_lite.response_items import NeMoGymResponseInputItem
from nemo_gym_lite.responses_types import NeMoGymResponseCreateParamsNonStreaming

Namespaces: TypeAlias = dict[str, tuple[str, str]]
"""Namespace and name of functions that go by one name on our side, by that name."""

_RESPONSES_FIELDS = frozenset(NeMoGymResponseCreateParamsNonStreaming.model_fields) - {"stream"}
_CHAT_FIELDS = frozenset(NeMoGymChatCompletionCreateParamsNonStreaming.model_fields) - {"stream", "stream_options"}

_log = logging.getLogger(__name__)


def plain_responses(body: Json, takes_tool: Callable[[Json], bool]) -> tuple[Json, Namespaces]:
    """Return the Responses create params in a streaming request, and the namespaces of its tools.

    Tools of a namespace get the name `<namespace>__<name>`. Unknown fields and items, and tools that the model cannot
    take, are left out. Leading system and developer messages become instructions, as chat templates take only one.

    Args:
        body: The request; not changed.
        takes_tool: Whether the model server takes a tool.
    """
    params = {name: value for name, value in body.items() if name in _RESPONSES_FIELDS}
    namespaces: Namespaces = {}
    if isinstance(tools := body.get("tools"), list):
        flat = [part for tool in tools if isinstance(tool, dict) for part in _flat(tool, namespaces)]
        params["tools"] = [tool for tool in flat if takes_tool(tool) or _tell_left_out("tools", str(tool.get("type")))]
    if isinstance(items := body.get("input"), list):
        known = [item for item in map(_joined, items) if _is_known(item)]
        count = next((index for index, item in enumerate(known) if not _instructs(item)), len(known))
        texts = [body.get("instructions"), *(_text(item.get("content")) for item in known[:count])]
        if instructions := "\n\n".join(text for text in texts if text):
            params["instructions"] = instructions
        params["input"] = known[count:]
    return params, namespaces


def is_function(tool: Json) -> bool:
    """Whether a tool is a function, which every model takes; others their own service has to run."""
    return tool.get("type") == "function"


def plain_chat(body: Json) -> tuple[Json, bool]:
    """Return the Chat request in a streaming one, and whether the client wants the usage at the end."""
    options = body.get("stream_options")
    with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return {name: value for name, value in body.items() if name in _CHAT_FIELDS}, with_usage


def _flat(tool: Json, namespaces: Namespaces) -> list[Json]:
    if tool.get("type") != "namespace":
        return [tool]
    flat = []
    for inner in tool.get("tools") or ():
        joined = f"{tool.get('name')}__{inner.get('name')}"
        namespaces[joined] = str(tool.get("name")), str(inner.get("name"))
        flat.append({**inner, "type": "function", "name": joined})
    return flat


def _joined(item: Any) -> Any:
    """A call that comes back in its namespace, under the name that the model knows."""
    if isinstance(item, dict) and item.get("type") == "function_call" and item.get("namespace"):
        plain = {name: value for name, value in item.items() if name != "namespace"}
        return {**plain, "name": f"{item['namespace']}__{item.get('name')}"}
    return item


def _is_known(item: Any) -> bool:
    try:
        _items().validate_python(item)
    except ValidationError:
        kind = str(item.get("type")) if isinstance(item, dict) else type(item).__name__
        return _tell_left_out("items", kind)
    return True


@cache
def _items() -> TypeAdapter[Any]:
    return TypeAdapter(NeMoGymResponseInputItem)


def _instructs(item: Json) -> bool:
    return item.get("type") in (None, "message") and item.get("role") in ("system", "developer")


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


@cache
def _tell_left_out(what: str, kind: str) -> bool:
    """Say once for each kind that it is left out; always False."""
    _log.warning("%s of type %r are left out of streaming requests: the model cannot take them", what, kind)
    return False
