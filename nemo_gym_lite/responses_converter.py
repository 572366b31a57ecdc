"""The two dialects under the class that environments and model servers of NeMo Gym know, in and out typed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

from pydantic import BaseModel, Field, TypeAdapter

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects import chat, reasoning, reply
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.openai_utils import (
    NeMoGymChatCompletion,
    NeMoGymChatCompletionCreateParamsNonStreaming,
    NeMoGymChoice,
    NeMoGymEasyInputMessage,
    NeMoGymFunctionCallOutput,
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
    NeMoGymResponseOutputItem,
)
from nemo_gym_lite.token_ids import REQUIRED_TOKEN_METADATA_FIELDS, TOKEN_METADATA_FIELDS, TokenIDLogProbMixin

_Made = TypeVar("_Made")
Items: TypeAlias = list[NeMoGymResponseOutputItem]

_ITEMS: TypeAdapter[Items] = TypeAdapter(Items)
_PREFIXES = {"reasoning": "rs", "message": "msg"}
_CLIENTS_ITEMS = frozenset(
    ("function_call_output", "computer_call_output", "custom_tool_call_output", "local_shell_call_output")
) | {"mcp_approval_response"}
"""Items that whoever calls the model adds to a conversation; every other kind but messages is the model's."""


class ResponsesConverterState(BaseModel):
    """A Chat conversation under construction, for subclasses of NeMo Gym's converter; ours does without.

    Attributes:
        messages: What is finished.
        content_buffer: What the assistant has said since.
        tool_calls_buffer: What it has called since.
        token_information: Token ids of that, if there are any.
    """

    return_token_id_information: bool
    messages: list[Json] = Field(default_factory=list)
    content_buffer: str = ""
    tool_calls_buffer: list[Json] = Field(default_factory=list)
    token_information: TokenIDLogProbMixin | None = None

    def flush_assistant(self) -> None:
        """End the assistant's message, if one is open."""
        if not (self.content_buffer or self.tool_calls_buffer):
            return
        message: Json = {"role": "assistant", "content": self.content_buffer or None}
        if self.tool_calls_buffer:
            message["tool_calls"] = self.tool_calls_buffer
        if self.return_token_id_information and self.token_information:
            message |= self.token_information.model_dump(exclude_none=True)
        self.messages.append(message)
        self.content_buffer, self.tool_calls_buffer = "", []


class ResponsesConverter(BaseModel):
    """Converts between Responses and Chat Completions.

    Attributes:
        return_token_id_information: Token ids travel with messages and items.
        uses_reasoning_parser: Think blocks in a text are reasoning items; otherwise they stay in the text.
    """

    return_token_id_information: bool
    uses_reasoning_parser: bool = True

    def responses_to_chat_completion_create_params(
        self, responses_create_params: NeMoGymResponseCreateParamsNonStreaming
    ) -> NeMoGymChatCompletionCreateParamsNonStreaming:
        """What is asked, as Chat Completions has it; parameters that were not set stay so.

        Raises:
            NotImplementedError: An item, a content part or a tool has no counterpart.
            ValueError: `tool_choice` without tools, or an image or video without an address.
        """
        params = responses_create_params.model_dump(mode="json", exclude_unset=True)
        if not isinstance(responses_create_params.input, str):  # objects need not have been told their own type
            params["input"] = [item.model_dump(mode="json") for item in responses_create_params.input]
        body = _or_raise(lambda: chat.plain_chat(params, self._settings()))
        if params.get("model") is not None:
            body["model"] = params["model"]
        return NeMoGymChatCompletionCreateParamsNonStreaming.model_validate(body)

    def chat_completion_to_responses_create_params(
        self, chat_completion_create_params: NeMoGymChatCompletionCreateParamsNonStreaming
    ) -> NeMoGymResponseCreateParamsNonStreaming:
        """What is asked, as Responses has it."""
        body = chat_completion_create_params.model_dump(exclude_unset=True)
        shared = set(NeMoGymResponseCreateParamsNonStreaming.model_fields) - {"tools", "tool_choice", "input"}
        params = {name: value for name, value in body.items() if name in shared}
        params["input"] = self.chat_completions_messages_to_responses_items(body["messages"])
        if limit := body.get("max_completion_tokens") or body.get("max_tokens"):
            params["max_output_tokens"] = limit
        if effort := body.get("reasoning_effort"):
            params["reasoning"] = {"effort": effort}
        if tools := body.get("tools"):
            params["tools"] = [{"parameters": None, "strict": None, **_unwrapped(tool)} for tool in tools]
        if choice := body.get("tool_choice"):
            params["tool_choice"] = choice if isinstance(choice, str) else _unwrapped(choice)
        return NeMoGymResponseCreateParamsNonStreaming.model_validate(params)

    def chat_completion_to_response(
        self,
        responses_create_params: NeMoGymResponseCreateParamsNonStreaming,
        chat_completion: NeMoGymChatCompletion,
    ) -> NeMoGymResponse:
        """The answer's first choice as a response, which repeats what was asked."""
        params = responses_create_params.model_dump(mode="json", exclude_unset=True)
        completion = chat_completion.model_dump(mode="json")
        choice = completion["choices"][0]
        output = self._output(choice["message"])
        plain = {**completion, "choices": [{**choice, "message": {"content": ""}}]}
        settings = DialectSettings(params.get("model") or completion["model"])
        made = _or_raise(lambda: reply.to_response(plain, params | {"top_logprobs": None}, settings))
        made |= {"id": f"resp_{uuid4().hex}", "output": output}
        return NeMoGymResponse.model_validate(made | {"top_logprobs": params.get("top_logprobs")})

    def postprocess_chat_response(self, choice: NeMoGymChoice) -> Items:
        """The items of an answer: reasoning, then text, then calls."""
        return self.postprocess_assistant_message_dict(choice.message.model_dump(mode="json", exclude_none=True))

    def postprocess_assistant_message_dict(self, message_dict: Mapping[str, Any]) -> Items:
        """The items of an assistant's message: reasoning, then text, then calls."""
        return _ITEMS.validate_python(self._output(message_dict))

    def chat_completions_messages_to_responses_items(self, messages: Sequence[Mapping[str, Any]]) -> Items:
        """A conversation as items.

        Raises:
            NotImplementedError: A message's role has no counterpart.
        """
        return [item for message in messages for item in self._items(message)]

    def _items(self, message: Mapping[str, Any]) -> Items:
        role, content = message["role"], message.get("content")
        if role == "assistant":
            return self.postprocess_assistant_message_dict(message)
        if role == "tool":
            return [
                NeMoGymFunctionCallOutput(call_id=message["tool_call_id"], output=_parts(content), status="completed")
            ]
        if role in {"user", "system", "developer"}:
            return [NeMoGymEasyInputMessage(role=role, content=_parts(content))]
        raise NotImplementedError(f"a message with the role {role!r} has no counterpart in Responses")

    def _output(self, message: Mapping[str, Any]) -> list[Json]:
        said = {name: value for name, value in message.items() if self.uses_reasoning_parser or "reasoning" not in name}
        items = reply.output_items(said, self._settings())
        for item in items:
            if prefix := _PREFIXES.get(item["type"]):
                item["id"] = f"{prefix}_{uuid4().hex}"
        if self.return_token_id_information and message.keys() >= REQUIRED_TOKEN_METADATA_FIELDS:
            items[-1] |= {name: message[name] for name in TOKEN_METADATA_FIELDS if message.get(name) is not None}
        return items

    def _settings(self) -> DialectSettings:
        return DialectSettings(
            model="",
            uses_reasoning_parser=self.uses_reasoning_parser,
            return_token_id_information=self.return_token_id_information,
        )

    @staticmethod
    def _wrap_reasoning_in_think_tags(texts: Sequence[str]) -> str:
        return "".join(map(reasoning.wrap, texts))

    def _extract_reasoning_from_content(self, content: str) -> tuple[list[str], str]:
        return reasoning.split(content)


VLLMConverter = ResponsesConverter
VLLMConverterResponsesToChatCompletionsState = ResponsesConverterState


def split_responses_input_output_items(items: Items) -> tuple[Items, Items]:
    """Cut a conversation where the model first says something: what it was given, and all that follows."""
    for index, item in enumerate(items):
        kind = getattr(item, "type", None)
        model_speaks = getattr(item, "role", None) == "assistant" if kind == "message" else kind not in _CLIENTS_ITEMS
        if model_speaks:
            return items[:index], items[index:]
    return items, []


def _or_raise(convert: Callable[[], _Made]) -> _Made:
    """What `convert` makes; what fails it as Python's own errors, which callers of NeMo Gym's class expect."""
    try:
        return convert()
    except FailedCallError as error:
        wrong_value = "tool_choice" in error.message or "part without" in error.message
        raise (ValueError if wrong_value else NotImplementedError)(error.message) from error


def _unwrapped(tool: Mapping[str, Any]) -> Json:
    return {"type": tool["type"], **tool[tool["type"]]}


def _parts(content: Any) -> Any:
    """A message's content as Responses has it."""
    if not isinstance(content, list):
        return content or ""
    return [_part(part) for part in content]


def _part(part: Mapping[str, Any]) -> Json:
    if part["type"] == "image_url":
        return {
            "type": "input_image",
            "image_url": part["image_url"]["url"],
            "detail": part["image_url"].get("detail", "auto"),
        }
    if part["type"] == "video_url":
        return {"type": "input_video", "video_url": part["video_url"]["url"]}
    return {**part, "type": "input_text"} if part["type"] == "text" else dict(part)
