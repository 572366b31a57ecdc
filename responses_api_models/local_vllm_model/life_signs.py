"""Tells an engine that hangs from one that is busy, and from one that has nothing to do.

`/health` does not tell: vLLM answers it as long as its API server lives, even if its core is stuck for ever. So we look
at the figures of its `/metrics` page, which come from the core: they move with every step while requests run. While
none run they need not move, and a core that gets stuck in its first step never says that it has requests. An engine
that seems idle is therefore asked for one token now and then.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import aiohttp

from nemo_gym_lite.clients import Json

LOOKS = 6
"""Looks in a row without a sign of life after which an engine hangs, so that one slow answer means nothing."""

_FIGURE = re.compile(
    rb"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc|prompt_tokens_total|generation_tokens_total"
    rb"|request_success_total|engine_sleep_state)(\{.*\})? ([0-9.eE+-]+)\s*$",
    re.MULTILINE,
)

_SMALL_REQUEST = {"prompt": "Is anybody there? Say yes, or no.", "max_tokens": 1}
"""Longer than the very shortest prompts, which some CPU builds of vLLM do not survive as their first one."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an engine showed at one look.

    Attributes:
        figures: Those of its page that its core moves; none if it has no such page.
        requests: How many it runs, or lets wait.
        is_asleep: Whether somebody put it to sleep, for its memory; it must not be asked for anything then.
    """

    figures: frozenset[tuple[bytes, ...]]
    requests: int
    is_asleep: bool


def read_page(page: bytes) -> Look:
    """What a `/metrics` page shows."""
    found = _FIGURE.findall(page)
    requests = sum(float(value) for name, _, value in found if name.startswith(b"num_requests"))
    is_asleep = any(b'sleep_state="awake"' in labels and float(value) == 0 for _, labels, value in found)
    return Look(frozenset(found), int(requests), is_asleep)


def is_sign_of_life(before: Look | None, now: Look | None) -> bool:
    """Whether what is seen now says that the engine lives; None stands for no answer."""
    if now is None:
        return False
    return not now.figures or now.is_asleep or before is None or now.figures != before.figures


async def until_hung(url: str, http: aiohttp.ClientSession, headers: Json, hang_s: float) -> str:
    """Watch an engine; returns, with what was seen, when it has given no sign of life for about `hang_s`.

    Args:
        url: Where it answers, without `/v1`.
        http: For asking it.
        headers: Those that its API wants.
        hang_s: Seconds of patience.
    """
    return await until_quiet(partial(_look, url, http), partial(_answers, url, http, headers), hang_s)


async def until_quiet(
    look: Callable[[float], Awaitable[Look | None]], answers: Callable[[float], Awaitable[bool]], hang_s: float
) -> str:
    """The rule of `until_hung`, whoever looks.

    Args:
        look: What the engine shows within so many seconds, None if nothing.
        answers: Whether it answers a small request within so many seconds.
        hang_s: Seconds of patience.
    """
    step_s = hang_s / LOOKS
    quiet, asked, before = 0, False, None
    while quiet < LOOKS:
        now, _ = await asyncio.gather(look(step_s), asyncio.sleep(step_s))
        quiet = 0 if is_sign_of_life(before, now) else quiet + 1
        asked = asked and quiet > 0
        before = now or before
        if quiet >= LOOKS // 2 and not asked and now is not None and not now.requests:
            asked = not await answers(hang_s / 2)
            quiet = LOOKS - 1 if asked else 0
    if now is None:
        return f"it did not answer for {hang_s:g} s"
    if now.requests:
        return f"none of its {now.requests} requests moved for {hang_s:g} s"
    return f"it did not answer a request for one token within {hang_s / 2:g} s"


async def _look(url: str, http: aiohttp.ClientSession, timeout_s: float) -> Look | None:
    try:
        async with http.get(f"{url}/metrics", timeout=aiohttp.ClientTimeout(total=timeout_s)) as reply:
            return read_page(await reply.read())
    except (aiohttp.ClientError, TimeoutError):
        return None


async def _answers(url: str, http: aiohttp.ClientSession, headers: Json, timeout_s: float) -> bool:
    """Whether the engine answers a request for one token, with whatever status."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with http.post(f"{url}/v1/completions", json=_SMALL_REQUEST, headers=headers, timeout=timeout):
            return True
    except TimeoutError:
        return False
    except aiohttp.ClientError:
        return True  # refused or cut off: it is going or gone, which the next look sees
