"""The items of a Responses conversation as pydantic models: messages, reasoning, tool calls and tool outputs.

They mirror the types of the `openai` package and are our own, because importing that package takes a second.
Validators are built at first use, and an item's class is found by one look at it, not by trying each in turn.
"""

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from typing_extensions import TypedDict

from nemo_gym_lite.content_parts import InputParts, NeMoGymContent, TextOrParts
from nemo_gym_lite.token_ids import TOKEN_METADATA_FIELDS, TokenIDLogProbMixin

Progress: TypeAlias = Literal["in_progress", "completed", "incomplete"]

HOSTED_ITEM_TYPES = (
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "file_search_call",
    "web_search_call",
    "computer_call",
    "computer_call_output",
    "image_generation_call",
    "code_interpreter_call",
    "local_shell_call",
    "local_shell_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
)
"""Items that only some providers know; we carry them and look no further."""


class NeMoGymFunctionToolParam(TypedDict):
    """A function that the model may call; `parameters` is a JSON schema. A plain dict."""

    name: str
    type: Literal["function"]
    parameters: NotRequired[dict[str, Any] | None]
    strict: NotRequired[bool | None]
    description: NotRequired[str | None]


def _is_none(value: object) -> bool:
    return value is None


class _Item(BaseModel):
    model_config = ConfigDict(defer_build=True)


class NeMoGymEasyInputMessage(_Item):
    """A message as people write it: a role and a text, or a list of content parts (plain dicts)."""

    content: TextOrParts
    role: Literal["user", "assistant", "system", "developer"]
    type: Literal["message"] = "message"


class NeMoGymMessage(_Item):
    """An input message with a status, whose content is always a list of parts (plain dicts)."""

    content: InputParts
    role: Literal["user", "system", "developer"]
    status: Progress = "completed"
    type: Literal["message"] = "message"


class NeMoGymChatMessage(_Item):
    """A message in the shape of Chat Completions (`tool` role, inline `tool_calls`, null content)."""

    model_config = ConfigDict(extra="allow")

    content: Any = None
    role: Literal["assistant", "tool"]
    type: Literal["message"] = "message"


class NeMoGymResponseOutputMessage(_Item):
    """A message that the model wrote."""

    id: str
    content: list[NeMoGymContent]
    role: Literal["assistant"] = "assistant"
    status: Progress = "completed"
    type: Literal["message"] = "message"


class NeMoGymResponseFunctionToolCall(_Item):
    """The model asks for a tool; `arguments` is a JSON text, which may be malformed."""

    arguments: str
    call_id: str
    name: str
    type: Literal["function_call"] = "function_call"
    id: str | None = None
    status: Progress | None = None


class NeMoGymFunctionCallOutput(_Item):
    """What a tool answered to the call `call_id`."""

    call_id: str
    output: TextOrParts
    type: Literal["function_call_output"] = "function_call_output"
    id: str | None = None
    status: Progress | None = None


class NeMoGymSummary(_Item):
    """One block of reasoning."""

    text: str
    type: Literal["summary_text"] = "summary_text"


class NeMoGymReasoningContent(_Item):
    """Raw reasoning text, as some providers return it."""

    text: str
    type: Literal["reasoning_text"] = "reasoning_text"


class NeMoGymResponseReasoningItem(_Item):
    """The model's reasoning. It has no `status`: OpenAI answers null there and refuses to read it back."""

    id: str
    summary: list[NeMoGymSummary]
    type: Literal["reasoning"] = "reasoning"
    encrypted_content: str | None = None
    content: list[NeMoGymReasoningContent] | None = Field(default=None, exclude_if=_is_none)  # NeMo Gym knows none


class NeMoGymHostedItem(_Item):
    """An item of a tool that the provider runs (`mcp_call`, `web_search_call`, ...), with all its fields."""

    model_config = ConfigDict(extra="allow")

    type: Literal[HOSTED_ITEM_TYPES]  # type: ignore[valid-type]  # a tuple constant is a valid Literal at run time
    id: str | None = None
    status: str | None = None


class NeMoGymEasyInputMessageForTraining(NeMoGymEasyInputMessage, TokenIDLogProbMixin):
    """An easy message that carries token ids."""


class NeMoGymMessageForTraining(NeMoGymMessage, TokenIDLogProbMixin):
    """An input message that carries token ids."""


class NeMoGymResponseOutputMessageForTraining(NeMoGymResponseOutputMessage, TokenIDLogProbMixin):
    """An output message that ends a turn and carries the turn's token ids."""


class NeMoGymResponseFunctionToolCallForTraining(NeMoGymResponseFunctionToolCall, TokenIDLogProbMixin):
    """A function call that ends a turn and carries the turn's token ids."""


class NeMoGymResponseReasoningItemForTraining(NeMoGymResponseReasoningItem, TokenIDLogProbMixin):
    """A reasoning item that ends a turn and carries the turn's token ids."""


RESPONSES_TO_TRAIN: dict[type[BaseModel], type[BaseModel]] = {
    NeMoGymEasyInputMessage: NeMoGymEasyInputMessageForTraining,
    NeMoGymMessage: NeMoGymMessageForTraining,
    NeMoGymResponseOutputMessage: NeMoGymResponseOutputMessageForTraining,
    NeMoGymResponseFunctionToolCall: NeMoGymResponseFunctionToolCallForTraining,
    NeMoGymResponseReasoningItem: NeMoGymResponseReasoningItemForTraining,
}


def training_variant_of(item_class: type[BaseModel]) -> type[BaseModel]:
    """Return the twin of `item_class` that carries token ids.

    Raises:
        NotImplementedError: A model never samples such an item, so it has no twin.
    """
    try:
        return RESPONSES_TO_TRAIN[item_class]
    except KeyError:
        raise NotImplementedError(f"{item_class.__name__} cannot carry token ids") from None


_TAG_OF_TYPE = {
    "function_call": "function_call",
    "function_call_output": "function_call_output",
    "reasoning": "reasoning",
} | dict.fromkeys(HOSTED_ITEM_TYPES, "hosted")
_TAG_OF_CLASS = {
    NeMoGymEasyInputMessage: "easy",
    NeMoGymMessage: "message",
    NeMoGymChatMessage: "chat",
    NeMoGymResponseOutputMessage: "output",
    NeMoGymResponseFunctionToolCall: "function_call",
    NeMoGymFunctionCallOutput: "function_call_output",
    NeMoGymResponseReasoningItem: "reasoning",
    NeMoGymHostedItem: "hosted",
}
_TRAINABLE = {"easy", "message", "output", "function_call", "reasoning"}
_TAG_OF_CLASS |= {twin: f"{_TAG_OF_CLASS[plain]}+tokens" for plain, twin in RESPONSES_TO_TRAIN.items()}


def _message_tag(item: dict[str, Any]) -> str:
    content, role = item.get("content"), item.get("role")
    if role == "tool" or content is None or "tool_calls" in item:
        return "chat"
    if isinstance(content, str):
        return "easy"
    if "id" in item and role in {"assistant", None}:
        return "output"
    return "message" if "status" in item and role != "assistant" else "easy"


def _item_tag(item: Any) -> str | None:
    if not isinstance(item, dict):
        return next((_TAG_OF_CLASS[base] for base in type(item).__mro__ if base in _TAG_OF_CLASS), None)
    kind = item.get("type") or "message"
    tag = _message_tag(item) if kind == "message" else _TAG_OF_TYPE.get(str(kind))
    # one token field is enough, so that an incomplete set fails for the fields it lacks
    if tag in _TRAINABLE and not TOKEN_METADATA_FIELDS.isdisjoint(item):
        return f"{tag}+tokens"
    return tag


_AnyItem: TypeAlias = (
    Annotated[NeMoGymEasyInputMessage, Tag("easy")]
    | Annotated[NeMoGymMessage, Tag("message")]
    | Annotated[NeMoGymChatMessage, Tag("chat")]
    | Annotated[NeMoGymResponseOutputMessage, Tag("output")]
    | Annotated[NeMoGymResponseFunctionToolCall, Tag("function_call")]
    | Annotated[NeMoGymFunctionCallOutput, Tag("function_call_output")]
    | Annotated[NeMoGymResponseReasoningItem, Tag("reasoning")]
    | Annotated[NeMoGymHostedItem, Tag("hosted")]
    | Annotated[NeMoGymEasyInputMessageForTraining, Tag("easy+tokens")]
    | Annotated[NeMoGymMessageForTraining, Tag("message+tokens")]
    | Annotated[NeMoGymResponseOutputMessageForTraining, Tag("output+tokens")]
    | Annotated[NeMoGymResponseFunctionToolCallForTraining, Tag("function_call+tokens")]
    | Annotated[NeMoGymResponseReasoningItemForTraining, Tag("reasoning+tokens")]
)
NeMoGymResponseInputItem: TypeAlias = Annotated[
    _AnyItem,
    Discriminator(_item_tag, custom_error_type="item_type", custom_error_message="unknown Responses item type"),
]
NeMoGymResponseInput: TypeAlias = list[NeMoGymResponseInputItem]
NeMoGymResponseOutputItem: TypeAlias = NeMoGymResponseInputItem  # agents put what environments said between the turns
