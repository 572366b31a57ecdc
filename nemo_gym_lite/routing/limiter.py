"""The place where a rate limit of our own stands: between the choice of an endpoint and the sending."""

from collections.abc import Mapping
from typing import Any, Protocol

from nemo_gym_lite.clients import Json

ASSUMED_ANSWER_TOKENS = 512
"""Tokens of an answer whose request sets no limit, as long as it has not come."""

BYTES_PER_TOKEN = 4
"""Of JSON in English; near enough, as the answer's usage corrects the estimate."""


class Limiter(Protocol):
    """Holds requests back so that a model's limits per minute are kept. One per model and process."""

    async def admit(self, tokens: int) -> Any:  # the ticket is the limiter's own
        """Return a ticket when a request of about `tokens` tokens may be sent; first come, first served."""
        ...

    def settle(self, ticket: Any, tokens: int | None, headers: Mapping[str, str]) -> None:
        """Note what an admitted request took in fact.

        Args:
            ticket: From `admit`.
            tokens: Tokens of prompt and answer as the endpoint counted them, 0 for a refused request, None where
                nobody knows.
            headers: The reply's, which may tell limits; empty if there was no reply.
        """
        ...

    def withdraw(self, ticket: Any) -> None:
        """Hand a ticket back: the request was not sent."""
        ...


def estimated_tokens(body: Json, length_bytes: int) -> int:
    """Tokens that a request will take, prompt and answer.

    Args:
        body: The request, in either dialect.
        length_bytes: Its length as JSON.
    """
    limits = (body.get(name) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"))
    answer = next((limit for limit in limits if isinstance(limit, int)), ASSUMED_ANSWER_TOKENS)
    return length_bytes // BYTES_PER_TOKEN + answer


def used_tokens(answer: Json) -> int | None:
    """Tokens of an answer's usage, None if it has none."""
    usage = answer.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) else None
