"""What rollouts may cost: adds up tokens and dollars, and says when a run has to stop.

Everything that an output and its sidecar hold counts, earlier runs included, so that a run which is killed and started
again does not spend its budget twice; the wall time is that of this run alone. What was asked for and never answered
(a call that timed out) is in no usage and cannot be counted; neither are the calls of an environment's judge.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_PER = 1e6
"""Prices are for so many tokens."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens.

    Attributes:
        input: Of prompt tokens.
        cached_input: Of prompt tokens that the service had in its cache.
        output: Of generated tokens, reasoning included.
    """

    input: float
    cached_input: float
    output: float

    def of(self, usage: Mapping[str, Any]) -> float:
        """What a usage costs, in US dollars."""
        prompt, answer = _count(usage, "input_tokens"), _count(usage, "output_tokens")
        cached = min(prompt, _count(usage.get("input_tokens_details") or {}, "cached_tokens"))
        return ((prompt - cached) * self.input + cached * self.cached_input + answer * self.output) / _PER


PriceOf = Callable[[str], Price | None]
"""The price of a model by its name; None if nobody wrote it down."""


class Spent:
    """What rollouts used up.

    Args:
        prices: Of every model that is known.
        models: The model that each agent asks for, by the agent's name; a row whose response names another one costs
            what that one costs only if the asked one has no price.

    Attributes:
        input_tokens: Prompt tokens of all turns.
        cached_tokens: Those of them that the service had in its cache.
        output_tokens: Generated tokens.
        total_tokens: Both kinds together.
        unpriced: Models that have no price, so that their tokens are in no cost.
    """

    def __init__(self, prices: PriceOf = lambda _: None, models: Mapping[str, str] | None = None) -> None:
        self.input_tokens = self.cached_tokens = self.output_tokens = self.total_tokens = 0
        self.unpriced: set[str] = set()
        self._cost_usd = 0.0
        self._prices, self._models = prices, dict(models or {})
        self._known: dict[tuple[str, str], Price | None] = {}

    @property
    def cost_usd(self) -> float | None:
        """US dollars, None as long as no model that was used has a price."""
        return self._cost_usd if any(self._known.values()) else None

    def add(self, facts: Mapping[str, Any]) -> None:
        """Take in a row of the output or of the sidecar; one without `usage` used up nothing.

        Args:
            facts: The row, or at least its `usage`, `agent_ref` and the `model` of its `response`.
        """
        usage = facts.get("usage")
        if not isinstance(usage, dict):
            return
        prompt, answer = _count(usage, "input_tokens"), _count(usage, "output_tokens")
        if not prompt + answer:
            return
        self.input_tokens += prompt
        self.output_tokens += answer
        self.total_tokens += _count(usage, "total_tokens") or prompt + answer
        self.cached_tokens += _count(usage.get("input_tokens_details") or {}, "cached_tokens")
        self._cost_usd += self.cost_of(facts) or 0.0

    def cost_of(self, facts: Mapping[str, Any]) -> float | None:
        """US dollars that one row cost, None if its model has no price; it must have `usage`."""
        price = self._price(facts)
        return None if price is None else price.of(facts["usage"])

    def as_json(self) -> Json:
        """For the manifest."""
        names = ("input_tokens", "cached_tokens", "output_tokens", "total_tokens")
        counts = {name: getattr(self, name) for name in names}
        cost_usd = None if self.cost_usd is None else round(self.cost_usd, 6)
        return {**counts, "cost_usd": cost_usd, "unpriced": sorted(self.unpriced)}

    def _price(self, facts: Mapping[str, Any]) -> Price | None:
        response = facts.get("response")
        answered = str(response.get("model") or "") if isinstance(response, dict) else ""
        asked = self._models.get((facts.get("agent_ref") or {}).get("name", ""), "")
        names = (asked, answered)
        if names not in self._known:
            price = self._prices(asked) or self._prices(answered)
            self._known[names] = price
            if price is None:
                self.unpriced.add(answered or asked or "unknown")
        return self._known[names]


class Budget:
    """Says when a run has used up what it may.

    Args:
        max_cost_usd: US dollars; None for no limit, here and below.
        max_total_tokens: Prompt and generated tokens.
        max_wall_s: Seconds from `now_s`.
        spent: What the output holds, in this run and earlier ones.
        now_s: When this run begins, by the clock whose times `exhausted` gets.
    """

    def __init__(
        self,
        max_cost_usd: float | None,
        max_total_tokens: int | None,
        max_wall_s: float | None,
        spent: Spent,
        now_s: float = 0.0,
    ) -> None:
        self._spent = spent
        self._max_cost_usd, self._max_total_tokens, self._max_wall_s = max_cost_usd, max_total_tokens, max_wall_s
        self._began_s = now_s

    def has_time(self, now_s: float) -> bool:
        """Whether rollouts in flight may end in their own time, as what they used is paid for."""
        return self._max_wall_s is None or now_s - self._began_s < self._max_wall_s

    def exhausted(self, now_s: float) -> str | None:
        """Which budget is used up, in words for the user; None while the run may go on."""
        spent = self._spent
        if self._max_cost_usd is not None:
            if spent.unpriced:
                names = ", ".join(sorted(spent.unpriced))
                return f"max_cost_usd: {names} has no price, so nobody can say what it costs; add one with +prices="
            if (cost_usd := spent.cost_usd or 0.0) >= self._max_cost_usd:
                return f"max_cost_usd: {_dollars(cost_usd)} of {_dollars(self._max_cost_usd)} are spent"
        if self._max_total_tokens is not None and spent.total_tokens >= self._max_total_tokens:
            return f"max_total_tokens: {spent.total_tokens:,} of {self._max_total_tokens:,} tokens are used"
        if not self.has_time(now_s):
            return f"max_wall_s: the {self._max_wall_s:g} s of this run are over"
        return None


def _dollars(amount: float) -> str:
    """US dollars as people write them: `$1,234.50`, `$0.70`, and of less than a cent two digits, `$0.0012`."""
    return f"${amount:,.2f}" if amount >= 0.01 or amount <= 0 else f"${amount:.2g}"


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0
