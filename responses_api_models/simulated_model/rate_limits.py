"""Enforced requests and tokens per minute, as hosted APIs have them: 429, Retry-After and `x-ratelimit-*` headers.

The window slides exactly: what was taken 60 seconds ago is free again, nothing earlier. Only what was admitted counts.
"""

import math
import time
from collections import deque
from collections.abc import Callable

import orjson

from nemo_gym_lite.errors import EndpointError
from responses_api_models.simulated_model.refusals import error_body
from responses_api_models.simulated_model.settings import Limits

MINUTE_S = 60.0
Entry = list[float]
"""[when it was taken in seconds, how much]."""


class SlidingWindow:
    """At most `limit` within any `window_s` seconds."""

    def __init__(self, limit: int, window_s: float, what: str) -> None:
        self.limit, self.what = limit, what
        self._window_s = window_s
        self._entries: deque[Entry] = deque()
        self._taken = 0.0

    def remaining(self, now_s: float) -> int:
        """How much may be taken at once."""
        self._forget(now_s)
        return max(int(self.limit - self._taken), 0)

    def full_again_s(self, now_s: float) -> float:
        """Seconds until nothing is taken any more."""
        self._forget(now_s)
        return self._entries[-1][0] + self._window_s - now_s if self._entries else 0.0

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until `amount` fits, 0 if it does; more than the limit fits an empty window."""
        self._forget(now_s)
        over, wait_s = self._taken + amount - self.limit, 0.0
        for when_s, taken in self._entries:
            if over <= 0:
                break
            over -= taken
            wait_s = when_s + self._window_s - now_s
        return wait_s

    def take(self, amount: float, now_s: float) -> Entry:
        """Take, whether it fits or not; the entry may be handed to `correct`."""
        entry = [now_s, amount]
        self._entries.append(entry)
        self._taken += amount
        return entry

    def correct(self, entry: Entry, amount: float) -> None:
        """An estimate has become a count."""
        if self._entries and entry[0] >= self._entries[0][0]:
            self._taken += amount - entry[1]
        entry[1] = amount

    def _forget(self, now_s: float) -> None:
        entries = self._entries
        while entries and entries[0][0] <= now_s - self._window_s:
            self._taken -= entries.popleft()[1]


class RateGate:
    """Admits requests by their number, then by their tokens.

    Attributes:
        limits: What is enforced.
        refused: Requests refused so far.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.refused = 0
        self.load(limits)

    def load(self, limits: Limits) -> None:
        """Enforce other limits from now on, with empty windows."""
        self.limits = limits
        self._minute = _window(limits.requests_per_minute, MINUTE_S, "requests per min (RPM)")
        self._second = _window(limits.requests_per_second, 1.0, "requests per sec (RPS)")
        self._tokens = _window(limits.tokens_per_minute, MINUTE_S, "tokens per min (TPM)")
        self._by_number = [window for window in (self._minute, self._second) if window is not None]

    def admit(self) -> None:
        """Count one request.

        Raises:
            EndpointError: There are too many; holds the 429.
        """
        if not self._by_number:
            return
        now_s = self._clock()
        for window in self._by_number:
            self._refuse_beyond(window, 1, now_s)
        for window in self._by_number:
            window.take(1, now_s)

    def charge(self, tokens: int) -> Entry | None:
        """Count the tokens that a request will take at most; hand the entry to `settle` when they are known.

        Raises:
            EndpointError: They are too many; holds the 429.
        """
        if self._tokens is None:
            return None
        now_s = self._clock()
        self._refuse_beyond(self._tokens, tokens, now_s)
        return self._tokens.take(tokens, now_s)

    def settle(self, entry: Entry | None, tokens: int) -> None:
        """Count the tokens that a request took in fact."""
        if self._tokens is not None and entry is not None:
            self._tokens.correct(entry, tokens)

    def headers(self) -> dict[str, str] | None:
        """`x-ratelimit-*` of the limits per minute, as OpenAI sends them with every reply; None if there are none."""
        if not self.limits.headers or (self._minute is None and self._tokens is None):
            return None
        now_s, found = self._clock(), {}
        for name, window in (("requests", self._minute), ("tokens", self._tokens)):
            if window is not None:
                found[f"x-ratelimit-limit-{name}"] = str(window.limit)
                found[f"x-ratelimit-remaining-{name}"] = str(window.remaining(now_s))
                found[f"x-ratelimit-reset-{name}"] = duration(window.full_again_s(now_s))
        return found

    def retry_headers(self, wait_s: float) -> dict[str, str]:
        """`Retry-After` in whole seconds and `retry-after-ms`; empty where the settings say to send none."""
        if not self.limits.retry_after:
            return {}
        return {"Retry-After": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))}

    def _refuse_beyond(self, window: SlidingWindow, amount: int, now_s: float) -> None:
        wait_s = window.wait_s(amount, now_s)
        if wait_s <= 0:
            return
        self.refused += 1
        used = window.limit - window.remaining(now_s)
        message = (
            f"Rate limit reached for simulated on {window.what}: Limit {window.limit}, Used {used}, "
            f"Requested {amount}. Please try again in {duration(wait_s)}."
        )
        body = orjson.dumps(error_body(429, message, "rate_limit_error"))
        raise EndpointError("rate_limited", message, retryable=True, status=429, retry_after_s=wait_s, body=body)


def duration(seconds: float) -> str:
    """Seconds as OpenAI writes them: `17ms`, `1.5s`, `1m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:.3g}s" if minutes else f"{rest:.4g}s"


def _window(limit: int | None, window_s: float, what: str) -> SlidingWindow | None:
    return None if limit is None else SlidingWindow(limit, window_s, what)
