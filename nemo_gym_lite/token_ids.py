"""The token ids of one model turn, exactly as the engine sampled them: all three lists or none."""

from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

REQUIRED_TOKEN_METADATA_FIELDS = frozenset(("prompt_token_ids", "generation_token_ids", "generation_log_probs"))
TOKEN_METADATA_FIELDS = REQUIRED_TOKEN_METADATA_FIELDS | {"routed_experts"}

RoutedExperts: TypeAlias = str | list[list[list[int]]]
"""Expert indices per token, layer and rank, or the training framework's opaque string; never looked into."""


class TokenIDLogProbMixin(BaseModel):
    """Token ids of a turn, carried by the turn's last output item."""

    model_config = ConfigDict(defer_build=True)

    prompt_token_ids: list[int]
    generation_token_ids: list[int]
    generation_log_probs: list[float]
    routed_experts: RoutedExperts | None = None
