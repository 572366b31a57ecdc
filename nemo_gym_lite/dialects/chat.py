"""Responses create params → Chat Completions body.

What the assistant says arrives as separate items (reasoning, message, calls) and leaves as one message, so it
piles up until somebody else speaks.
"""

from itertools import takewhile
from typing import Any

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects import reasoning
from nemo_gym_lite.dialects.body import prepare_chat
from nemo_gym_lite.dialects.settings import DialectSettings, bad_request
from nemo_gym_lite.token_ids import TOKEN_METADATA_FIELDS

_SAME = ("metadata", "parallel_tool_calls", "service_tier", "store", "temperature", "top_logprobs", "top_p", "user")


def to_chat(params: Json, settings: DialectSettings) -> Json:
    """Return the Chat body that asks what Responses create params ask, ready to be sent; nulls count as absent, and
    what Chat Completions does not have (`include`, `truncation`, `text`, ...) is left out.

    Raises:
        FailedCallError: `bad_request`, terminal: an item, a content part or a tool has no counterpart.
    """
    return prepare_chat(plain_chat(params, settings), settings)


def plain_chat(params: Json, settings: DialectSettings) -> Json:
    """Return the Chat body that asks what `params` asks, without what the model's settings add before it is sent.

    Raises:
        FailedCallError: As `to_chat`.
    """
    body: Json = {"messages": to_messages(params["input"], settings)}
    if instructions := params.get("instructions"):
        body["messages"] = _lead_with(instructions, body["messages"])
    for name in _SAME:
        if (value := params.get(name)) is not None:
            body[name] = value
    if (max_tokens := params.get("max_output_tokens")) is not None:
        body["max_tokens"] = max_tokens
    if effort := (params.get("reasoning") or {}).get("effort"):
        body["reasoning_effort"] = effort
    if body.get("top_logprobs"):
        body["logprobs"] = True
    _add_tools(body, params)
    return body


def to_messages(items: str | list[Json], settings: DialectSettings) -> list[Json]:
    """Return a conversation of Responses items as Chat messages.

    Raises:
        FailedCallError: `bad_request`, terminal: an item has no counterpart; the message names its type.
    """
    if isinstance(items, str):
        return [{"role": "user", "content": [{"type": "text", "text": items}]}]
    conversation = _Conversation(settings.return_token_id_information)
    for index, item in enumerate(items):
        try:
            conversation.add(item)
        except (KeyError, TypeError, AttributeError) as error:
            kind = item.get("type", "message") if isinstance(item, dict) else type(item).__name__
            raise bad_request(f"input item {index} of type {kind!r} is malformed: {error!r}") from error
    conversation.flush()
    return conversation.messages


class _Conversation:
    """Chat messages under construction."""

    __slots__ = ("_calls", "_carries_token_ids", "_text", "_token_ids", "messages")

    def __init__(self, carries_token_ids: bool) -> None:
        self.messages: list[Json] = []
        self._carries_token_ids = carries_token_ids
        self._text = ""
        self._calls: list[Json] = []
        self._token_ids: Json = {}

    def add(self, item: Json) -> None:
        kind = item.get("type") or ("message" if item.get("role") else None)
        if kind == "message":
            self._add_message(item)
        elif kind == "function_call_output":
            self._speak("tool", _output_content(item["output"]), tool_call_id=item["call_id"])
        elif kind == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            self._calls.append({"id": item["call_id"], "type": "function", "function": function})
            self._keep_token_ids(item)
        elif kind == "reasoning":
            self._text += "".join(reasoning.wrap(block["text"]) for block in item.get("summary") or ())
            self._keep_token_ids(item)
        else:
            raise bad_request(f"input item of type {kind!r} has no counterpart in Chat Completions")

    def flush(self) -> None:
        """End the assistant's message, if one is open."""
        if self._text or self._calls:
            message: Json = {"role": "assistant", "content": self._text or None}
            if self._calls:
                message["tool_calls"] = self._calls
            self.messages.append(message | self._token_ids)
        self._text, self._calls, self._token_ids = "", [], {}

    def _add_message(self, item: Json) -> None:
        role = item.get("role") or "assistant"  # an output message may leave its role out
        if role == "assistant":
            self._text += _text(item.get("content"))
            self._calls += item.get("tool_calls") or ()
            self._keep_token_ids(item)
        elif role in {"user", "system", "developer"}:
            self._speak(role, _parts(item["content"]))
        elif role == "tool":
            self._speak(role, item["content"], tool_call_id=item["tool_call_id"])
        else:
            raise bad_request(f"message with unknown role {role!r}")

    def _speak(self, role: str, content: Any, **more: str) -> None:
        self.flush()
        self.messages.append({"role": role, "content": content, **more})

    def _keep_token_ids(self, item: Json) -> None:
        if self._carries_token_ids and item.get("prompt_token_ids"):
            self._token_ids = {name: item[name] for name in TOKEN_METADATA_FIELDS if item.get(name) is not None}


def _text(content: str | list[Json] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def _parts(content: str | list[Json]) -> str | list[Json]:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: Json) -> Json:
    kind = part.get("type")
    if kind == "input_text":
        return {"type": "text", "text": part["text"]}
    if kind == "input_image":
        image = {"url": _url(part, "image_url"), "detail": part.get("detail") or "auto"}
        return {"type": "image_url", "image_url": image}
    if kind == "input_video":
        name = "video_url" if part.get("video_url") else "video"
        return {"type": "video_url", "video_url": {"url": _url(part, name)}}
    raise bad_request(f"content part of type {kind!r} has no counterpart in Chat Completions")


def _url(part: Json, name: str) -> str:
    value = part.get(name)
    url = value.get("url") if isinstance(value, dict) else value
    if not isinstance(url, str) or not url:
        raise bad_request(f"{part['type']} part without {name}")
    return url


def _output_content(output: str | list[Json]) -> str | list[Json]:
    if isinstance(output, str):
        return output
    if others := sorted({str(part.get("type")) for part in output} - {"input_text"}):
        raise bad_request(f"function_call_output with parts of type {', '.join(others)}: only input_text can be sent")
    return [{"type": "text", "text": part["text"]} for part in output]


def _lead_with(instructions: str, messages: list[Json]) -> list[Json]:
    """Fold the leading system and developer messages into one that starts with the instructions."""
    leading = list(takewhile(lambda message: message["role"] in {"system", "developer"}, messages))
    texts = [instructions, *(_text(message["content"]) for message in leading)]
    return [{"role": "system", "content": "\n\n".join(texts)}, *messages[len(leading) :]]


def _add_tools(body: Json, params: Json) -> None:
    choice = params.get("tool_choice")
    if tools := params.get("tools"):
        body["tools"] = [_tool(tool) for tool in tools]
        if choice is not None:
            body["tool_choice"] = _tool_choice(choice)
        return
    if choice not in (None, "auto", "none"):
        raise bad_request(f"tool_choice={choice!r} without tools")
    body.pop("parallel_tool_calls", None)


def _tool(tool: Json) -> Json:
    if tool.get("type") != "function":
        raise bad_request(f"tool of type {tool.get('type')!r} has no counterpart in Chat Completions")
    function = {name: value for name, value in tool.items() if name not in {"type", "strict"}}
    return {"type": "function", "function": function}


def _tool_choice(choice: str | Json) -> str | Json:
    if isinstance(choice, dict) and choice.get("type") == "function" and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice
