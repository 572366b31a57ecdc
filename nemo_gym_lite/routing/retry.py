"""Which failures of a model call are worth another try, and how long to wait before it.

This is the only retry policy of the package. It decides; it neither sends nor sleeps.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from nemo_gym_lite.errors import EndpointError

BUSY_STATUSES = frozenset({429, 503, 529})
"""The endpoint lives and asks for patience. It is not for the call to wait: the endpoint's calls share one pause, and
few of them are let in at a time after it (`routing/window.py`), so that each hears it only a few times before it is
its turn."""

MISCONFIGURED_STATUSES = frozenset({401, 403, 404, 405})
"""A wrong key, model or path: waiting does not mend it, another endpoint of the same model may be set up
rightly."""

MOVE_AT_ONCE = frozenset({"unreachable", "reset", "timeout"})
"""Failures after which another endpoint is asked without a wait: it has no part in them."""

_HINTS = {
    401: "check the API key of the model server",
    403: "check the API key of the model server",
    404: "check the model's name against the endpoint's /v1/models, and that base_url ends in /v1",
}

_BODY_BYTES = 4096  # of an error's body, kept in the error
_SEEN_BYTES = 500  # of an error's body, in its message


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long one model call is tried.

    Waits are `uniform(0, min(cap_s, base_s * 2**n))` seconds before retry n ("full jitter"), so that
    rollouts which failed together do not come back together.

    Attributes:
        attempts: Requests that may fail before the call fails, refusals for want of capacity included.
        budget_s: Seconds from the first request after which no further one is begun.
        base_s: Upper bound of the first wait, in seconds; doubles with each one.
        cap_s: Upper bound of any wait, in seconds, unless the endpoint itself asks for more.
    """

    attempts: int = 10
    budget_s: float = 600.0
    base_s: float = 0.25
    cap_s: float = 8.0

    def wait_s(self, retry: int, retry_after_s: float | None, rng: random.Random) -> float:
        """Seconds to wait before retry number `retry`, which counts from 0.

        `retry_after_s`, what the endpoint asked for, is kept in full; the jitter comes on top of it.
        """
        ceiling_s = min(self.cap_s, self.base_s * 2.0 ** min(retry, 30))
        return (retry_after_s or 0.0) + rng.uniform(0.0, ceiling_s)


@dataclass(slots=True)
class CallBudget:
    """What one call has spent of its policy.

    Attributes:
        policy: The limits.
        began_s: Clock time of the first request, in seconds.
        requests: Requests that have failed so far.
    """

    policy: RetryPolicy
    began_s: float
    requests: int = 0

    @property
    def ends_s(self) -> float:
        """Clock time, in seconds, after which no further request is begun."""
        return self.began_s + self.policy.budget_s

    def next_wait_s(self, error: EndpointError, now_s: float, *, fresh: bool, rng: random.Random) -> float | None:
        """Seconds to wait before the next request, None to give up.

        Args:
            error: How the last request failed.
            now_s: Clock time, in seconds.
            fresh: An endpoint that this call has not tried yet is ready. Going there is always allowed,
                whatever is spent: a rollout is not lost while a healthy endpoint is left. It ends, as
                endpoints are few.
            rng: Source of the jitter.
        """
        if not error.retryable or (error.status in MISCONFIGURED_STATUSES and not fresh):
            return None
        self.requests += 1
        busy = error.status in BUSY_STATUSES
        asked_s = 0.0 if fresh else error.retry_after_s or 0.0
        wait_s = self.policy.wait_s(self.requests - 1, asked_s, rng)
        spent = self.requests >= self.policy.attempts or now_s + (asked_s if busy else wait_s) > self.ends_s
        if spent and not fresh:
            return None
        if busy or (fresh and (error.failure_class in MOVE_AT_ONCE or error.status in MISCONFIGURED_STATUSES)):
            return 0.0  # how long a busy endpoint needs is the pool's to know
        return wait_s


def classify(url: str, status: int, headers: Mapping[str, str], body: bytes, epoch_s: float) -> EndpointError:
    """Turn a reply that is no success into the error that says what to do about it; `epoch_s` is now."""
    failure_class, retryable = _class_of(status)
    if status == 429 and b"insufficient_quota" in body:
        retryable = False  # the account is empty; no wait refills it
    error = EndpointError(
        failure_class,
        f"{url} answered {status}: {excerpt(body)}",
        retryable=retryable,
        status=status,
        retry_after_s=parse_retry_after(headers, epoch_s),
        body=body[:_BODY_BYTES],
    )
    error.hint = _HINTS.get(status, "")
    if status == 429:
        named = ((name.lower(), value) for name, value in headers.items())
        error.rate_limits = {name: value for name, value in named if name.startswith("x-ratelimit-")}
    return error


def parse_retry_after(headers: Mapping[str, str], epoch_s: float) -> float | None:
    """Seconds that the endpoint asks us to stay away: `retry-after-ms`, or `Retry-After` in seconds or as a date;
    None if it says nothing that can be understood."""
    if (millis := _number(headers.get("retry-after-ms"))) is not None:
        return millis / 1000.0
    value = headers.get("Retry-After", "")
    seconds = _number(value)
    return seconds if seconds is not None else _seconds_until(value, epoch_s)


def excerpt(body: bytes) -> str:
    """The start of a body on one line, for messages."""
    text = " ".join(body[:_SEEN_BYTES].decode("utf-8", "replace").split())
    return f"{text}..." if len(body) > _SEEN_BYTES else text or "(empty body)"


def _class_of(status: int) -> tuple[str, bool]:
    """The failure class of a status, and whether the same request may succeed later or elsewhere."""
    if status in {429, 529}:
        return "rate_limited", True
    if status == 408:
        return "timeout", True
    if status >= 500:
        return "server_error", True
    return "bad_request", status in MISCONFIGURED_STATUSES


def _number(text: str | None) -> float | None:
    """A finite number that is not below 0, else None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _seconds_until(http_date: str, epoch_s: float) -> float | None:
    try:
        moment = parsedate_to_datetime(http_date)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)  # RFC 9110: an HTTP date is in GMT
    return max(0.0, moment.timestamp() - epoch_s)
