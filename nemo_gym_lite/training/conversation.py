"""A rollout's conversation as Chat messages and tools, in the form that training libraries document.

Content is plain text and never null, arguments of calls are objects, a tool's reply names its tool, and the
`developer` is the `system`: chat templates of open models know nothing else.
"""

from dataclasses import dataclass

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects.chat import plain_chat, to_messages
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.errors import FailedCallError

_SETTINGS = DialectSettings(model="")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was asked and what came of it.

    Attributes:
        prompt: The messages of the task.
        completion: Those of the rollout, tool replies included.
        tools: The functions that were offered, None if there were none.
    """

    prompt: list[Json]
    completion: list[Json]
    tools: list[Json] | None


def conversation_of(params: Json, output: list[Json]) -> Conversation | None:
    """The conversation of create params and a response's output; None if it cannot be put into text, as images."""
    asked = {name: params[name] for name in ("input", "instructions", "tools") if params.get(name) is not None}
    names: dict[str, str] = {}
    try:
        chat = plain_chat(asked, _SETTINGS)
        prompt = [_in_text(message, names) for message in chat["messages"]]
        completion = [_in_text(message, names) for message in to_messages(output, _SETTINGS)]
    except (FailedCallError, KeyError, TypeError, AttributeError, ValueError):
        return None
    return Conversation(prompt, completion, chat.get("tools"))


def _in_text(message: Json, names: dict[str, str]) -> Json:
    """The message as it is exported; `names`, by id of a call, gets those of this message's calls."""
    role = "system" if message["role"] == "developer" else message["role"]
    told: Json = {"role": role, "content": _text(message["content"])}
    if calls := message.get("tool_calls"):
        told["tool_calls"] = [_call(call) for call in calls]
        names.update((call["id"], call["function"]["name"]) for call in calls)
    if (call_id := message.get("tool_call_id")) is not None:
        told |= {"tool_call_id": call_id, "name": names.get(call_id, "")}
    return told


def _text(content: str | list[Json] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if any(part.get("type") != "text" for part in content):
        raise ValueError("a part is no text")
    return "".join(part["text"] for part in content)


def _call(call: Json) -> Json:
    """A call whose arguments are an object; those that the model wrote wrongly stay as it wrote them."""
    arguments = call["function"]["arguments"]
    try:
        read = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        read = None
    function = {"name": call["function"]["name"], "arguments": read if isinstance(read, dict) else arguments}
    return {"id": call["id"], "type": "function", "function": function}
