"""Keeps a model's calls within so many requests and tokens per minute, as hosted services count them.

The window slides exactly: within any 60 seconds no more is sent than allowed, in the order in which calls came. A
request counts from its reply, or from soon after it was let through; its tokens are estimated before, and corrected
once the answer's usage is known. Services say in `x-ratelimit-*` headers what they allow and what is left; the lower of
that and the configuration holds, and what others use up under the same key is left to them.
"""

import asyncio
import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from nemo_gym_lite.clock import Clock
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.routing.limiter import Size
from nemo_gym_lite.routing.token_estimate import CAUTIOUS_SHARE, TokenEstimate

WINDOW_S = 60.0

LATE_S = 2.0
"""Requests do not arrive in the rhythm in which they were let through: a connection has to be made, a machine is busy.
Each counts from when its reply came, as then it had arrived for sure, but not from later than this. So as long as none
is late by more, the service counts no more than it allows; for slow answers that costs 3 % of the rate."""

PACES = 60
"""Into so many parts a window is cut, each with its share of the requests: services may enforce a rate per minute by
the second, and a burst is late as a whole."""

_KINDS = ("requests", "tokens")
_PART = re.compile(r"([\d.]+)(ms|s|m|h|d)?")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(eq=False, slots=True)
class Ticket:
    """One request that was let through.

    Attributes:
        at_s: When, in clock seconds.
        prompt_tokens: Guess of its prompt's tokens.
        tokens: What it counts as: an estimate, then what it took.
        ends_s: Until when it counts.
        counted: Whether it does.
    """

    at_s: float
    prompt_tokens: int = 0
    tokens: float = 0.0
    ends_s: float = 0.0
    counted: bool = False


@dataclass(slots=True)
class _Told:
    """What the service said last about one kind of limit."""

    limit: float = math.inf
    others: float = 0.0  # used up by somebody else
    until_s: float = 0.0  # when that is over


class RateLimiter:
    """Lets requests through at the rate that a service allows.

    Args:
        requests_per_minute: None if only the service's own headers limit them, here and below.
        tokens_per_minute: Prompt and generated tokens together.
        clock: Source of time.
        window_s: Seconds that stand for the minute.
        late_s: Seconds by which a request may arrive late.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        clock: Clock,
        *,
        window_s: float = WINDOW_S,
        late_s: float = LATE_S,
    ) -> None:
        self._own = (requests_per_minute, tokens_per_minute)
        self._clock, self._window_s, self._late_s = clock, window_s, late_s
        self._workers = 1
        self._told = {kind: _Told() for kind in _KINDS}
        self._log: deque[Ticket] = deque()
        self._tokens = 0.0  # of the log
        self._under_way: dict[Ticket, None] = {}  # in the order in which they were let through
        self._estimate = TokenEstimate()
        self._paced_s = 0.0  # up to when the tokens let through would last at an even pace
        self._turn = asyncio.Lock()  # first come, first served: the first one waits, the others wait for it
        self._change: asyncio.Future[None] | None = None

    def share(self, workers: int) -> None:
        """Keep to an equal part of the limits, as one of `workers` processes that ask the same service.

        Raises:
            ConfigError: There are more workers than requests per minute.
        """
        requests_per_minute, _ = self._own
        if requests_per_minute is not None and requests_per_minute < workers:
            raise ConfigError(
                f"requests_per_minute is {requests_per_minute:g}, less than num_workers, which is {workers}",
                "use fewer workers; so few requests need one",
            )
        self._workers = workers

    def limit(self, kind: str) -> float:
        """Requests or tokens (`kind`) that all workers together may take within a window; infinity for any number."""
        own = self._own[_KINDS.index(kind)]
        return min(math.inf if own is None else own, self._told[kind].limit)

    async def admit(self, size: Size) -> Ticket:
        """Wait for a request's turn. Every ticket goes back, to `settle` or to `withdraw`."""
        if self.limit("requests") == self.limit("tokens") == math.inf:
            ticket = Ticket(self._clock.now(), size.prompt_tokens)
            self._under_way[ticket] = None
            return ticket
        async with self._turn:
            while True:
                now_s = self._clock.now()
                tokens = self._expected(size, now_s)
                wait_s = max(self._requests_wait_s(now_s), self._tokens_wait_s(tokens, now_s))
                if wait_s <= 0:
                    break
                await self._wait(wait_s)
            ticket = Ticket(now_s, size.prompt_tokens, tokens, now_s + self._late_s + self._window_s, counted=True)
            self._log.append(ticket)
            self._tokens += tokens
            self._paced_s = max(self._paced_s, now_s)
            self._pace(tokens)
            self._under_way[ticket] = None
            return ticket

    def settle(self, ticket: Ticket, tokens: int | None, headers: Mapping[str, str]) -> None:
        """Correct what a request counts as, and learn from the reply; see `Limiter`. Without a count, the estimate
        stands."""
        self._under_way.pop(ticket, None)
        now_s = self._clock.now()
        ticket.ends_s = min(ticket.ends_s, now_s + self._window_s)
        if tokens is not None:
            if ticket.counted:
                self._tokens += tokens - ticket.tokens
                self._pace(tokens - ticket.tokens)
            ticket.tokens = tokens
            if tokens > 0:
                self._estimate.learn(tokens - ticket.prompt_tokens, now_s - ticket.at_s)
        for kind in _KINDS:
            if (remaining := headers.get(f"x-ratelimit-remaining-{kind}")) is not None:
                self._learn(kind, remaining, headers, now_s)
        self._wake()

    def withdraw(self, ticket: Ticket) -> None:
        """Take a ticket back whose request was not sent."""
        self.settle(ticket, 0, {})
        if ticket.counted:
            ticket.counted = False
            self._log.remove(ticket)

    def _expected(self, size: Size, now_s: float) -> float:
        limit = self.limit("tokens") / self._workers
        if limit == math.inf:
            return 0.0
        oldest = next(iter(self._under_way), None)
        longest_s = now_s - oldest.at_s if oldest else 0.0
        return self._estimate.expected(size, limit, len(self._under_way), longest_s)

    def _requests_wait_s(self, now_s: float) -> float:
        limit = self.limit("requests")
        if limit == math.inf:
            return 0.0
        others = self._others("requests", now_s)
        log = self._log
        self._forget(now_s)
        share = max(1, math.floor(limit / self._workers))
        if len(log) >= share or (others and len(log) + others >= limit):
            return self._next_change_s("requests", now_s)
        at_once = math.ceil(share / PACES)
        return 0.0 if len(log) < at_once else log[-at_once].at_s + self._window_s / PACES - now_s

    def _tokens_wait_s(self, tokens: float, now_s: float) -> float:
        limit = self.limit("tokens")
        if limit == math.inf:
            return 0.0
        others = self._others("tokens", now_s)
        self._forget(now_s)
        tokens += self._tokens + self._estimate.slack(len(self._under_way))
        beyond_share = self._log and tokens > limit / self._workers  # alone, a request may be too large
        if beyond_share or (others and tokens + others > limit):
            return self._next_change_s("tokens", now_s)
        return self._paced_s - now_s - self._window_s / CAUTIOUS_SHARE if self._log else 0.0

    def _pace(self, tokens: float) -> None:
        """Let a minute's tokens not go out at once: what is known of answers is known only when they have come."""
        if (limit := self.limit("tokens") / self._workers) != math.inf:
            self._paced_s += tokens * self._window_s / limit

    def _next_change_s(self, kind: str, now_s: float) -> float:
        """Seconds until the oldest request leaves the window, or others' use is over."""
        ends = [self._log[0].ends_s] if self._log else []
        if self._others(kind, now_s):
            ends.append(self._told[kind].until_s)
        return max(0.001, min(ends) - now_s)

    def _forget(self, now_s: float) -> None:
        log = self._log
        while log and log[0].ends_s <= now_s:
            ticket = log.popleft()
            ticket.counted = False
            self._tokens -= ticket.tokens

    def _others(self, kind: str, now_s: float) -> float:
        told = self._told[kind]
        return told.others if told.until_s > now_s else 0.0

    def _learn(self, kind: str, remaining: str, headers: Mapping[str, str], now_s: float) -> None:
        told, left = self._told[kind], _number(remaining)
        limit = _number(headers.get(f"x-ratelimit-limit-{kind}", ""))
        if limit:
            told.limit = limit
        if left is None or told.limit == math.inf:
            return
        self._forget(now_s)
        ours = len(self._log) if kind == "requests" else self._tokens
        reset_s = parse_duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
        told.others = max(0.0, told.limit - left - ours)
        told.until_s = now_s + min(self._window_s, math.inf if reset_s is None else reset_s)

    async def _wait(self, seconds: float) -> None:
        """Return after `seconds`, or sooner if a reply has changed what is known."""
        self._change = asyncio.get_running_loop().create_future()
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({self._change, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._change = None
            timer.cancel()

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)


def parse_duration(text: str) -> float | None:
    """Seconds of `6m0s`, `1.5s`, `120ms` or a plain number of seconds; None for anything else."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    numbers = [(_number(number), unit) for number, unit in parts]
    return sum((number or 0.0) * _SECONDS[unit] for number, unit in numbers)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
