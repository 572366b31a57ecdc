"""What an agent saw of its own episode beyond the response: conversations, tool calls, sandboxes, and what it missed.

Agents that run a harness of their own fill these in, as far as the harness tells. Every class refuses unknown fields.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, model_validator

from nemo_gym_lite.config_types import ModelServerRef
from nemo_gym_lite.openai_utils import NeMoGymResponse, NeMoGymResponseInputItem

__all__ = [
    "AgentEpisode",
    "AgentInvocation",
    "AgentObservationBundle",
    "AgentObservationRecord",
    "ContextCompactionObservation",
    "ModelCallRef",
    "ObservationGap",
    "ObservationModel",
    "SandboxObservation",
    "ToolCallObservation",
]


class ObservationModel(BaseModel):
    """Base of all observations; what is assigned later is checked too."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class ModelCallRef(ObservationModel):
    """Names one model call, by its own id or by server and response."""

    model_call_id: str | None = None
    model_ref: ModelServerRef | None = None
    response_id: str | None = None

    @model_validator(mode="after")
    def _names_a_call(self) -> Self:
        if not (self.model_call_id or (self.model_ref and self.response_id)):
            raise ValueError("a model call is named by model_call_id, or by model_ref and response_id")
        return self


class AgentInvocation(ObservationModel):
    """One conversation of the agent, or of an agent that it started.

    Attributes:
        spawned_by_tool_call_id: The tool call of the parent that started it.
        duration_ms: Milliseconds from its beginning to its end.
        conversation: Its items, as far as the harness keeps them.
    """

    kind: Literal["agent_invocation"] = "agent_invocation"
    invocation_id: str
    parent_invocation_id: str | None = None
    spawned_by_tool_call_id: str | None = None
    status: Literal["completed", "failed", "incomplete", "unknown"] = "unknown"
    duration_ms: NonNegativeFloat | None = None
    error_type: str | None = None
    model_calls: list[ModelCallRef] = Field(default_factory=list)
    conversation: list[NeMoGymResponseInputItem] = Field(default_factory=list)


class ToolCallObservation(ObservationModel):
    """When a tool call began and ended, and how.

    Attributes:
        started_at: Seconds since the epoch, as `completed_at`.
        timing_source: Who took the time.
        sandbox_id: The sandbox around it, which other calls may share.
    """

    kind: Literal["tool_call"] = "tool_call"
    invocation_id: str
    tool_call_id: str
    sandbox_id: str | None = None
    tool_name: str | None = None
    started_at: float | None = None
    completed_at: float | None = None
    duration_ms: NonNegativeFloat | None = None
    timing_source: Literal["executor", "artifact", "harness"] | None = None
    status: Literal["completed", "failed", "timeout", "cancelled", "incomplete", "unknown"] = "unknown"
    error_type: str | None = None

    @model_validator(mode="after")
    def _ends_after_it_began(self) -> Self:
        if None not in (self.started_at, self.completed_at) and self.completed_at < self.started_at:  # type: ignore[operator]
            raise ValueError(f"completed_at {self.completed_at} is before started_at {self.started_at}")
        return self


class SandboxObservation(ObservationModel):
    """What a sandbox used over its life, as measured, and how it ended.

    Attributes:
        wall_time_s: Seconds it lived.
        cpu_time_s: CPU seconds of all that ran in it.
        peak_memory_mib: Most memory it ever held.
        resource_usage_source: Who measured.
    """

    kind: Literal["sandbox"] = "sandbox"
    role: Literal["agent", "verifier", "environment"]
    provider: str | None = None
    sandbox_id: str | None = None
    outcome: Literal["completed", "failed", "timeout", "oom", "sandbox_error", "cancelled", "unknown"] = "unknown"
    exit_code: int | None = None
    wall_time_s: NonNegativeFloat | None = None
    cpu_time_s: NonNegativeFloat | None = None
    peak_memory_mib: NonNegativeFloat | None = None
    resource_usage_source: str | None = None
    error_type: str | None = None


class ContextCompactionObservation(ObservationModel):
    """The harness shortened a conversation.

    Attributes:
        observed_at: Seconds since the epoch.
        first_kept_item_id: The oldest item that stayed.
    """

    kind: Literal["context_compaction"] = "context_compaction"
    invocation_id: str
    observed_at: float | None = None
    trigger: str | None = None
    tokens_before: int | None = None
    tokens_after: int | None = None
    outcome: Literal["completed", "failed", "aborted", "unknown"] = "unknown"
    summary: str | None = None
    first_kept_item_id: str | None = None
    before_model_call: ModelCallRef | None = None
    after_model_call: ModelCallRef | None = None


class ObservationGap(ObservationModel):
    """Something that the agent could not observe; `code` says what in one word."""

    code: str
    invocation_id: str | None = None
    detail: str | None = None


AgentObservationRecord: TypeAlias = Annotated[
    AgentInvocation | ToolCallObservation | ContextCompactionObservation | SandboxObservation,
    Field(discriminator="kind"),
]


class AgentObservationBundle(ObservationModel):
    """All that one agent observed of one rollout; the order of `records` means nothing."""

    source: str
    records: list[AgentObservationRecord] = Field(default_factory=list)
    gaps: list[ObservationGap] = Field(default_factory=list)

    @model_validator(mode="after")
    def _invocations_have_names_of_their_own(self) -> Self:
        names = [record.invocation_id for record in self.records if isinstance(record, AgentInvocation)]
        if len(set(names)) < len(names):
            raise ValueError(f"two invocations have one invocation_id: {names}")
        return self


@dataclass(frozen=True, slots=True)
class AgentEpisode:
    """What an agent answered, and what it observed meanwhile."""

    response: NeMoGymResponse
    observations: AgentObservationBundle
