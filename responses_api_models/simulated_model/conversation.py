"""What a request asks, in one form for both dialects: the conversation so far and the answer's limits."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from nemo_gym_lite.clients import Json
from responses_api_models.simulated_model import tokens
from responses_api_models.simulated_model.refusals import invalid_body


@dataclass(slots=True)
class Conversation:
    """A request to answer.

    Attributes:
        rendered: (role, text) of each message; tool calls as the text that a model would write.
        task: Text of the last user message.
        opening: Text of the first user message, stripped.
        script: Text of the first user message that carries a `<script>`, empty if there is none.
        turn: Assistant messages so far.
        turn_since_user: Assistant messages since the last user message.
        tool_outputs: Tool messages since the last assistant message.
        tools: The offered functions, each with `name` and `parameters`.
        tool_choice: "auto", "none", "required", or the name of one function after `function:`.
        answer_schema: JSON schema that the answer's text must satisfy, None where it is free.
        digest: Identifies the conversation, whatever ids its tool calls carry.
    """

    rendered: list[tuple[str, str]]
    tools: list[Json]
    tool_choice: str
    max_tokens: int | None
    seed: int | None
    temperature: float | None
    parallel_tool_calls: bool
    answer_schema: Json | None = None
    task: str = ""
    opening: str = ""
    script: str = ""
    turn: int = 0
    turn_since_user: int = 0
    tool_outputs: tuple[str, ...] = ()
    digest: int = 0

    def __post_init__(self) -> None:
        fingerprint = blake2b(digest_size=8)
        for role, text in self.rendered:
            fingerprint.update(f"{role}\0{text}\0".encode("utf-8", "surrogatepass"))
            if role == "user":
                self.task, self.turn_since_user, self.tool_outputs = text, 0, ()
                self.opening = self.opening or text.strip()
                if not self.script and "<script>" in text:
                    self.script = text
            elif role == "assistant":
                self.turn, self.turn_since_user, self.tool_outputs = (
                    self.turn + 1,
                    self.turn_since_user + 1,
                    (),
                )
            elif role == "tool":
                self.tool_outputs = (*self.tool_outputs, text)
        if self.seed is not None:
            fingerprint.update(b"%d" % self.seed)
        self.digest = int.from_bytes(fingerprint.digest())

    def prompt_tokens(self) -> int:
        """Tokens of the prompt, the offered tools included."""
        return tokens.prompt_count(self._with_tools())

    def prompt_ids(self) -> list[int]:
        """Token ids of the prompt, as many as `prompt_tokens` says."""
        return tokens.prompt_ids(self._with_tools())

    def seen_tokens(self) -> int:
        """Tokens up to the last assistant message: what an engine that played that turn has in its cache."""
        last = max((at for at, (role, _) in enumerate(self.rendered) if role == "assistant"), default=-1)
        return tokens.prompt_count(self.rendered[: last + 1])

    def _with_tools(self) -> list[tuple[str, str]]:
        if not self.tools:
            return self.rendered
        return [("system", orjson.dumps(self.tools).decode()), *self.rendered]


def of_chat(body: Json) -> Conversation:
    """Read a Chat Completions request.

    Raises:
        EndpointError: The request is not valid; holds vLLM's reply.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise invalid_body("body.messages", "missing", "Field required")
    limit = body.get("max_completion_tokens")
    tools = [tool.get("function") or {} for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        choice = f"function:{(choice.get('function') or choice).get('name')}"
    return Conversation(
        rendered=[(message.get("role", ""), _message_text(message)) for message in messages],
        tools=tools,
        tool_choice=choice,
        max_tokens=body.get("max_tokens") if limit is None else limit,
        seed=body.get("seed"),
        temperature=body.get("temperature"),
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        answer_schema=_answer_schema(body.get("response_format")),
    )


def of_responses(params: Json) -> Conversation:
    """Read a Responses request; the items of one assistant turn become one message, as in a chat.

    Raises:
        EndpointError: The request is not valid; holds vLLM's reply.
    """
    given = params.get("input")
    if given is None:
        raise invalid_body("body.input", "missing", "Field required")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    rendered: list[tuple[str, str]] = []
    if instructions := params.get("instructions"):
        rendered.append(("system", instructions))
    for item in items:
        role, text = _item_text(item)
        if role == "assistant" and rendered and rendered[-1][0] == "assistant":
            rendered[-1] = ("assistant", rendered[-1][1] + text)
        else:
            rendered.append((role, text))
    choice = params.get("tool_choice") or "auto"
    return Conversation(
        rendered=rendered,
        tools=[tool for tool in params.get("tools") or () if tool.get("type") == "function"],
        tool_choice=f"function:{choice.get('name')}" if isinstance(choice, dict) else choice,
        max_tokens=params.get("max_output_tokens"),
        seed=params.get("seed"),
        temperature=params.get("temperature"),
        parallel_tool_calls=params.get("parallel_tool_calls") is not False,
        answer_schema=_answer_schema((params.get("text") or {}).get("format")),
    )


def call_text(name: str, arguments: str) -> str:
    """A tool call as the model writes it."""
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


def reasoning_text(reasoning: str) -> str:
    """Reasoning as the model writes it."""
    return f"<think>{reasoning}</think>"


def _answer_schema(asked: Json | None) -> Json | None:
    """The schema of a structured answer, asked for in either dialect's way."""
    match (asked or {}).get("type"):
        case "json_schema":
            schema: Json = ((asked or {}).get("json_schema") or asked or {}).get("schema") or {}
            return schema
        case "json_object":
            return {"type": "object"}
        case _:
            return None


def _content_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or () if isinstance(part, dict))


def _message_text(message: Json) -> str:
    text = _content_text(message.get("content"))
    if reasoning := message.get("reasoning") or message.get("reasoning_content"):
        text = reasoning_text(reasoning) + text
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        text += call_text(function.get("name", ""), function.get("arguments") or "{}")
    return text


def _item_text(item: Json) -> tuple[str, str]:
    """Role and text of a Responses item."""
    match item.get("type", "message"):
        case "function_call":
            return "assistant", call_text(item.get("name", ""), item.get("arguments") or "{}")
        case "function_call_output":
            return "tool", _content_text(item.get("output"))
        case "reasoning":
            return "assistant", reasoning_text(_content_text(item.get("content") or item.get("summary")))
        case _:
            return item.get("role", "user"), _content_text(item.get("content"))
