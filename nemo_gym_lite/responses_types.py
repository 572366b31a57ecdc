"""The Responses API as pydantic models: what a model is asked, what it answers and what that used."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from nemo_gym_lite.content_parts import text_or_list
from nemo_gym_lite.response_items import NeMoGymResponseInput, NeMoGymResponseOutputItem

ServiceTier = Literal["auto", "default", "flex", "scale", "priority"]
ToolChoice = Literal["none", "auto", "required"]


def _as_dicts(tools: Any) -> Any:
    if not isinstance(tools, list):
        return tools
    return [tool.model_dump() if isinstance(tool, BaseModel) else tool for tool in tools]


Tools: TypeAlias = Annotated[list[dict[str, Any]], BeforeValidator(_as_dicts)]
"""Tools as dicts; environments also give objects of the `openai` package."""


TextOrItems: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[NeMoGymResponseInput, Tag("list")], Discriminator(text_or_list)
]


class NeMoGymResponseCreateParamsNonStreaming(BaseModel):
    """What a model is asked. Unknown fields are refused, so that no misspelt parameter is ignored."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    background: bool | None = None
    include: list[str] | None = None
    input: TextOrItems
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] | None = None
    model: str | None = None
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    prompt: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    service_tier: ServiceTier | None = None
    store: bool | None = None
    temperature: float | None = None
    text: dict[str, Any] | None = None
    tool_choice: ToolChoice | dict[str, Any] = "auto"
    tools: list[dict[str, Any]] = Field(default_factory=list)
    top_logprobs: int | None = None
    top_p: float | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    stream: Literal[False] | None = None


class _Open(BaseModel):
    """A reply's part: what providers add is kept."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class NeMoGymResponseInputTokensDetails(_Open):
    """Details of the prompt's tokens; null is "not told", which is not the same as 0."""

    cached_tokens: int | None = None


class NeMoGymResponseOutputTokensDetails(_Open):
    """Details of the answer's tokens; null is "not told", which is not the same as 0."""

    reasoning_tokens: int | None = None


class NeMoGymResponseUsage(_Open):
    """Tokens that a response used."""

    input_tokens: int
    input_tokens_details: NeMoGymResponseInputTokensDetails
    output_tokens: int
    output_tokens_details: NeMoGymResponseOutputTokensDetails
    total_tokens: int

    @classmethod
    def sum_from_list(cls, usages: Iterable["NeMoGymResponseUsage"]) -> "NeMoGymResponseUsage":
        """Sum usages; no usages sum to zeros, and a detail that one of them lacks is null in the sum."""
        total = cls(
            input_tokens=0,
            input_tokens_details=NeMoGymResponseInputTokensDetails(cached_tokens=0),
            output_tokens=0,
            output_tokens_details=NeMoGymResponseOutputTokensDetails(reasoning_tokens=0),
            total_tokens=0,
        )
        for usage in usages:
            total._add(usage)
        return total

    def _add(self, more: "NeMoGymResponseUsage") -> None:
        self.input_tokens += more.input_tokens
        self.output_tokens += more.output_tokens
        self.total_tokens += more.total_tokens
        inputs, outputs = self.input_tokens_details, self.output_tokens_details
        inputs.cached_tokens = _known_sum(inputs.cached_tokens, more.input_tokens_details.cached_tokens)
        outputs.reasoning_tokens = _known_sum(outputs.reasoning_tokens, more.output_tokens_details.reasoning_tokens)


def _known_sum(total: int | None, more: int | None) -> int | None:
    return None if total is None or more is None else total + more


def accumulate_response_usage(
    total: NeMoGymResponseUsage | None, additional: NeMoGymResponseUsage | None
) -> NeMoGymResponseUsage | None:
    """Return `total` plus `additional` as a new object; either may be missing."""
    if total is None or additional is None:
        known = total or additional
        return known and known.model_copy(deep=True)
    result = total.model_copy(deep=True)
    result._add(additional)
    return result


class NeMoGymIncompleteDetails(_Open):
    """Why an answer stops early: `max_output_tokens` or `content_filter`."""

    reason: str | None = None


class NeMoGymResponseError(_Open):
    """Why a response failed."""

    code: str
    message: str


class NeMoGymResponse(BaseModel):
    """What a model answered. What providers add to it is kept."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    id: str
    created_at: float
    error: NeMoGymResponseError | None = None
    incomplete_details: NeMoGymIncompleteDetails | None = None
    instructions: str | list[dict[str, Any]] | None = None
    metadata: dict[str, str] | None = None
    model: str
    object: Literal["response"] = "response"
    output: list[NeMoGymResponseOutputItem]
    parallel_tool_calls: bool = True
    temperature: float | None = None
    tool_choice: ToolChoice | dict[str, Any] = "auto"
    tools: Tools = Field(default_factory=list)
    top_p: float | None = None
    background: bool | None = None
    conversation: dict[str, Any] | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    previous_response_id: str | None = None
    prompt: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    reasoning: dict[str, Any] | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    status: Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"] | None = None
    text: dict[str, Any] | None = None
    top_logprobs: int | None = None
    truncation: Literal["auto", "disabled"] | None = None
    usage: NeMoGymResponseUsage | None = None
    user: str | None = None

    @property
    def output_text(self) -> str:
        """All text of the output's messages, joined."""
        return "".join(
            part.text
            for item in self.output
            if item.type == "message"
            for part in getattr(item, "content", ())
            if getattr(part, "type", None) == "output_text"
        )
