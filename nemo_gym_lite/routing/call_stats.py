"""What became of the requests to a model's endpoints, as counts that add up over endpoints and processes."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LATENCY_BOUNDS_S = (0.001, *(round(f * 10.0**n, 6) for n in range(-3, 3) for f in (1.6, 2.5, 4.0, 6.3, 10.0)))
"""Upper bounds of the latency histogram's buckets, in seconds; one more bucket takes what is beyond."""


@dataclass(slots=True)
class CallStats:
    """Running totals since the start; every HTTP request counts, so a call that was tried three times is three.

    Attributes:
        answered: Requests that were answered, refusals for the request's own sake not included.
        failed: Requests that were not, by failure class.
        rate_limited: Those of `failed` in which the endpoint asked for patience (429, 503, 529).
        latency_s: Seconds of all answered requests together.
        latencies: Answered requests by latency; bucket n holds those up to `LATENCY_BOUNDS_S[n]` seconds.
        input_tokens: Tokens of the prompts, as the endpoints counted them.
        output_tokens: Tokens of the answers, as the endpoints counted them.
    """

    answered: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    rate_limited: int = 0
    latency_s: float = 0.0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, latency_s: float, usage: Mapping[str, Any] | None) -> None:
        """Count an answer that took `latency_s` seconds; `usage` is its own, of either dialect."""
        self.answered += 1
        self.latency_s += latency_s
        self.latencies[bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1
        if usage:
            self.input_tokens += usage.get("prompt_tokens") or usage.get("input_tokens") or 0
            self.output_tokens += usage.get("completion_tokens") or usage.get("output_tokens") or 0

    def add_failure(self, failure_class: str, *, busy: bool = False) -> None:
        """Count a request that failed; `busy`: the endpoint asked for patience."""
        self.failed[failure_class] = self.failed.get(failure_class, 0) + 1
        self.rate_limited += busy

    def merge(self, other: "CallStats") -> None:
        """Add another's counts to these."""
        self.answered += other.answered
        for failure_class, count in other.failed.items():
            self.failed[failure_class] = self.failed.get(failure_class, 0) + count
        self.rate_limited += other.rate_limited
        self.latency_s += other.latency_s
        self.latencies = [mine + more for mine, more in zip(self.latencies, other.latencies, strict=True)]
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens

    def mean_latency_s(self) -> float | None:
        """Mean latency of the answered requests in seconds, None if there are none."""
        return self.latency_s / self.answered if self.answered else None
