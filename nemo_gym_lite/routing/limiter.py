"""The place where a rate limit of our own stands: between the choice of an endpoint and the sending."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from nemo_gym_lite.clients import Json

BYTES_PER_TOKEN = 3
"""Of a request's JSON. English has more than 4, so the guess is rather too high; the answer's usage corrects it."""


class Size(NamedTuple):
    """About what a request takes.

    Attributes:
        prompt_tokens: Guess by its length.
        most_output: Tokens that the answer may have at most, None if the request does not say.
    """

    prompt_tokens: int
    most_output: int | None = None


class Limiter(Protocol):
    """Holds requests back so that a model's limits per minute are kept. One per model and process."""

    async def admit(self, size: Size) -> Any:  # the ticket is the limiter's own
        """Return a ticket when a request of this size may be sent; first come, first served."""
        ...

    def settle(self, ticket: Any, tokens: int | None, headers: Mapping[str, str]) -> None:
        """Note what an admitted request took: tokens of prompt and answer as the endpoint counted them, 0 for a
        refused one, None where nobody knows. The reply's headers may tell limits."""
        ...

    def withdraw(self, ticket: Any) -> None:
        """Hand a ticket back: the request was not sent."""
        ...

    def share(self, workers: int) -> None:
        """Keep to an equal part of the limits, as one of `workers` processes."""
        ...


def size_of(body: Json, length_bytes: int) -> Size:
    """About what a request, in either dialect and so many bytes long, takes."""
    limits = (body.get(name) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"))
    return Size(length_bytes // BYTES_PER_TOKEN, next((limit for limit in limits if isinstance(limit, int)), None))


def used_tokens(answer: Json) -> int | None:
    """Tokens of an answer's usage, None if it has none."""
    usage = answer.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) else None
