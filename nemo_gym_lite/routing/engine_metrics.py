"""Asks engines how they are doing: the few figures of vLLM's `/metrics` page that admission needs.

The page has a hundred kilobytes and is read every second, so it is searched and not parsed.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import aiohttp

from nemo_gym_lite.routing.admission import EngineReading

TIMEOUT_S = 2.0
"""An engine that takes longer is not heard at this look."""

ASK_AGAIN_S = 60.0
"""Hosted APIs have no such page; they are asked this seldom whether they have one now."""

_FIGURE = re.compile(
    rb"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc|gpu_cache_usage_perc|num_preemptions_total)"
    rb"(?:\{.*\})? ([0-9.eE+-]+)\s*$",
    re.MULTILINE,
)


def read_page(page: bytes) -> EngineReading | None:
    """The figures of a page, None if it is not vLLM's; data-parallel engines behind one address are one."""
    figures: dict[bytes, list[float]] = {}
    for name, value in _FIGURE.findall(page):
        figures.setdefault(name, []).append(float(value))
    if b"num_requests_running" not in figures or b"num_requests_waiting" not in figures:
        return None
    used = figures.get(b"kv_cache_usage_perc") or figures.get(b"gpu_cache_usage_perc") or [0.0]
    return EngineReading(
        running=int(sum(figures[b"num_requests_running"])),
        waiting=int(sum(figures[b"num_requests_waiting"])),
        cache_use=max(used),
        preemptions=int(sum(figures.get(b"num_preemptions_total", [0.0]))),
    )


def page_url(base_url: str) -> str:
    """Where the engine behind a base URL has its page."""
    return f"{base_url.rstrip('/').removesuffix('/v1')}/metrics"


class OwnEngine(AbstractAsyncContextManager[object], Protocol):
    """An engine in this process, which runs while its context is entered."""

    @property
    def base_url(self) -> str:
        """The name of the endpoint that it is."""
        ...

    async def page(self) -> bytes:
        """Its metrics, as `/metrics` of a server would give them."""
        ...


class EngineMetrics:
    """Asks all engines at once.

    Args:
        http: The process's session; owned by the caller.
        now: The time, in seconds.
        own: Those in this process, by base URL.
    """

    def __init__(
        self, http: aiohttp.ClientSession, now: Callable[[], float], own: Mapping[str, OwnEngine] | None = None
    ) -> None:
        self._http = http
        self._now = now
        self._own = own or {}
        self._timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._silent_until_s: dict[str, float] = {}

    async def read(self, base_urls: Sequence[str]) -> dict[str, EngineReading | None]:
        """What each engine says, by base URL; None where it does not answer, or has no such page."""
        readings = await asyncio.gather(*map(self._read, base_urls))
        return dict(zip(base_urls, readings, strict=True))

    async def _read(self, base_url: str) -> EngineReading | None:
        if self._now() < self._silent_until_s.get(base_url, 0.0):
            return None
        if own := self._own.get(base_url):
            return await _read_own(own)
        try:
            async with self._http.get(page_url(base_url), timeout=self._timeout) as reply:
                page = await reply.read() if reply.status == 200 else b""
                refused = reply.status < 500
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None  # as good as an engine that is restarted: the next look may find it
        reading = read_page(page)
        if reading is None and refused:
            self._silent_until_s[base_url] = self._now() + ASK_AGAIN_S
        return reading


async def _read_own(engine: OwnEngine) -> EngineReading | None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return read_page(await engine.page())
    except Exception:  # an engine's own code may raise anything, and a look that fails is none
        return None
