"""The engine's KV cache: tokens of running requests grow until they no longer fit.

It keeps sums only: every request grows evenly from its prompt to prompt and answer, so all of them together are one
straight line in time, and the moment of overflow is known without looking at any.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

Request = TypeVar("Request")

WATERMARK = 0.01
"""Share of the cache that is kept for what runs already when another request wants to begin, as in vLLM."""
MEMORY = 0.98
"""How much of the record of waste stays at each answer: it looks back over about fifty answers."""
MOST_SLOWDOWN = 4.0
"""How much longer answers take at most because the engine is busy with tokens that it had before."""


@dataclass(frozen=True, slots=True)
class _Holding:
    """Tokens of one running request: `prompt_tokens` at `since_s`, growing by `per_s` tokens each second."""

    prompt_tokens: float
    per_s: float
    since_s: float


class KvCache(Generic[Request]):
    """Tokens held by running requests, in a cache of `capacity_tokens`. Times are those of one monotonic clock.

    Attributes:
        capacity_tokens: Tokens that fit.
    """

    def __init__(self, capacity_tokens: int) -> None:
        self.capacity_tokens = capacity_tokens
        self._holdings: dict[Request, _Holding] = {}
        self._origin = 0.0  # tokens that the straight line has at time 0
        self._per_s = 0.0
        self._useful = self._wasted = 0.0

    def slowdown(self) -> float:
        """How many times as long an answer takes: tokens that were thrown away are computed at the cost of all."""
        return min(1.0 + self._wasted / self._useful, MOST_SLOWDOWN) if self._useful else 1.0

    def __len__(self) -> int:
        return len(self._holdings)

    def used(self, now_s: float) -> float:
        """Share of the cache that is held, 0 to 1."""
        return min(max((self._origin + self._per_s * now_s) / self.capacity_tokens, 0.0), 1.0)

    def fits(self, tokens: float, now_s: float) -> bool:
        """Whether a request may begin: these tokens have room below the watermark, or it would be alone."""
        room_tokens = self.capacity_tokens * (1 - WATERMARK)
        return not self._holdings or self._origin + self._per_s * now_s + tokens <= room_tokens

    def enter(self, key: Request, prompt_tokens: int, generation_tokens: int, due_s: float, now_s: float) -> None:
        """A request begins to grow to `prompt_tokens + generation_tokens` until `due_s`."""
        per_s = generation_tokens / (due_s - now_s) if due_s > now_s else 0.0
        self._holdings[key] = _Holding(prompt_tokens, per_s, now_s)
        self._origin += prompt_tokens - per_s * now_s
        self._per_s += per_s

    def leave(self, key: Request, now_s: float, *, preempted: bool) -> None:
        """A request is over, or was preempted: its tokens are free."""
        tokens = self.held(key, now_s)
        if preempted:
            self._wasted += tokens
        else:
            self._useful, self._wasted = self._useful * MEMORY + tokens, self._wasted * MEMORY
        holding = self._holdings.pop(key)
        self._origin -= holding.prompt_tokens - holding.per_s * holding.since_s
        self._per_s -= holding.per_s
        if not self._holdings:
            self._origin = self._per_s = 0.0  # no rounding outlives the requests that it came from

    def held(self, key: Request, now_s: float) -> float:
        """Tokens that a request holds by now."""
        holding = self._holdings[key]
        return holding.prompt_tokens + holding.per_s * (now_s - holding.since_s)

    def overflows_s(self, now_s: float) -> float | None:
        """When the cache overflows if nobody leaves; None if it never does, or a single request holds it."""
        if len(self._holdings) < 2 or self._per_s <= 0:
            return None
        return max(now_s, (self.capacity_tokens - self._origin) / self._per_s)

    def youngest(self) -> Request:
        """The request that began last: the one that vLLM preempts."""
        return next(reversed(self._holdings))
