"""The Chat Completions API as pydantic models, and its request messages as typed dicts."""

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, SerializeAsAny
from typing_extensions import TypedDict

from nemo_gym_lite.responses_types import ServiceTier
from nemo_gym_lite.token_ids import TOKEN_METADATA_FIELDS, TokenIDLogProbMixin

_ROLES = frozenset(("developer", "system", "user", "assistant", "tool"))


class NeMoGymChatCompletionContentPartTextParam(TypedDict):
    """Text in a message's content list."""

    text: str
    type: Literal["text"]


class NeMoGymChatCompletionUserMessageParam(TypedDict):
    """What the user says."""

    content: str | list[dict[str, Any]]
    role: Literal["user"]
    name: NotRequired[str]


class NeMoGymChatCompletionSystemMessageParam(TypedDict):
    """What the model is told to be."""

    content: str | list[NeMoGymChatCompletionContentPartTextParam]
    role: Literal["system"]
    name: NotRequired[str]


class NeMoGymChatCompletionDeveloperMessageParam(TypedDict):
    """A system message by its newer name."""

    content: str | list[NeMoGymChatCompletionContentPartTextParam]
    role: Literal["developer"]
    name: NotRequired[str]


class NeMoGymChatCompletionMessageToolCallFunctionParam(TypedDict):
    """The function of a replayed tool call; `arguments` is JSON text."""

    arguments: str
    name: str


class NeMoGymChatCompletionMessageToolCallParam(TypedDict):
    """A replayed tool call."""

    id: str
    function: NeMoGymChatCompletionMessageToolCallFunctionParam
    type: Literal["function"]


class NeMoGymChatCompletionAssistantMessageParam(TypedDict, total=False):
    """What the model said, replayed."""

    content: str | list[dict[str, Any]] | None
    role: Literal["assistant"]
    tool_calls: list[NeMoGymChatCompletionMessageToolCallParam] | None


class NeMoGymChatCompletionAssistantMessageForTrainingParam(NeMoGymChatCompletionAssistantMessageParam):
    """What the model said, with its token ids."""

    prompt_token_ids: list[int]
    generation_token_ids: list[int]
    generation_log_probs: list[float]


class NeMoGymChatCompletionToolMessageParam(TypedDict):
    """What a tool answered."""

    content: str | list[NeMoGymChatCompletionContentPartTextParam]
    role: Literal["tool"]
    tool_call_id: str


class NeMoGymFunctionDefinition(TypedDict):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[dict[str, Any]]
    strict: NotRequired[bool | None]


class NeMoGymChatCompletionToolParam(TypedDict):
    """A tool that the model may call."""

    function: NeMoGymFunctionDefinition
    type: Literal["function"]


def _check_roles(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for message in messages:
        if message.get("role") not in _ROLES:
            raise ValueError(f"unknown message role {message.get('role')!r}, expected one of {sorted(_ROLES)}")
    return messages


NeMoGymChatCompletionMessageParam: TypeAlias = dict[str, Any]


class NeMoGymChatCompletionCreateParamsNonStreaming(BaseModel):
    """What a model is asked, as messages. Unknown fields are ignored, as the interface has it."""

    model_config = ConfigDict(defer_build=True)

    messages: Annotated[list[NeMoGymChatCompletionMessageParam], AfterValidator(_check_roles)]
    model: str | None = None
    audio: dict[str, Any] | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, int] | None = None
    logprobs: bool | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    metadata: dict[str, str] | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    n: int | None = None
    parallel_tool_calls: bool = True
    prediction: dict[str, Any] | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    seed: int | None = None
    service_tier: ServiceTier | None = None
    stop: str | list[str] | None = None
    store: bool | None = None
    stream_options: dict[str, Any] | None = None
    temperature: float | None = None
    tool_choice: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    top_logprobs: int | None = None
    top_p: float | None = None
    user: str | None = None
    web_search_options: dict[str, Any] | None = None
    stream: Literal[False] | None = None


class _Open(BaseModel):
    """A reply's part: what engines add is kept."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class NeMoGymFunction(_Open):
    """The function of a tool call; `arguments` is a JSON text, which may be malformed."""

    arguments: str
    name: str


class NeMoGymChatCompletionMessageToolCall(_Open):
    """The model asks for a tool."""

    id: str
    function: NeMoGymFunction
    type: Literal["function"] = "function"


class NeMoGymChatCompletionMessage(_Open):
    """What the model said. Token ids, where an engine sends them, stay on it as extra fields."""

    content: str | None = None
    refusal: str | None = None
    role: Literal["assistant"] = "assistant"
    annotations: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None
    function_call: dict[str, Any] | None = None
    tool_calls: list[NeMoGymChatCompletionMessageToolCall] | None = None


class NeMoGymChatCompletionMessageForTraining(NeMoGymChatCompletionMessage, TokenIDLogProbMixin):
    """What the model said, with its token ids."""


def _complete_token_ids(message: NeMoGymChatCompletionMessage) -> NeMoGymChatCompletionMessage:
    carried = message.model_extra
    if carried and not TOKEN_METADATA_FIELDS.isdisjoint(carried):
        return NeMoGymChatCompletionMessageForTraining.model_validate(message.model_dump(exclude_unset=True))
    return message


class NeMoGymChoice(_Open):
    """One of the answers."""

    finish_reason: str
    index: int
    logprobs: dict[str, Any] | None = None
    message: SerializeAsAny[Annotated[NeMoGymChatCompletionMessage, AfterValidator(_complete_token_ids)]]


class NeMoGymCompletionUsage(_Open):
    """Tokens that a completion used."""

    completion_tokens: int
    prompt_tokens: int
    total_tokens: int
    completion_tokens_details: dict[str, Any] | None = None
    prompt_tokens_details: dict[str, Any] | None = None


class NeMoGymChatCompletion(_Open):
    """What a model answered, as messages."""

    id: str
    choices: list[NeMoGymChoice]
    created: int
    model: str
    object: Literal["chat.completion"] = "chat.completion"
    service_tier: str | None = None
    system_fingerprint: str | None = None
    usage: NeMoGymCompletionUsage | None = None
