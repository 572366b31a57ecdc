"""`GET /metrics` of every server: pure ASGI around its app, so that what is counted is what callers wait for."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import chain

from fastapi import FastAPI
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nemo_gym_lite.rollout_correlation import split_path
from nemo_gym_lite.rollouts.families import of_vitals, page
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.serving.asgi import send_bytes
from nemo_gym_lite.serving.request_stats import RequestStats

PATH = "/metrics"

_SEEN = "nemo_gym_lite.counted"
"""Mark of a request that passes a second stack of the same app's middleware."""

_OTHER = "other"
"""Route of what has no route of its own: paths with parameters, tools that a model made up."""


class ServerMetrics:
    """What is known of one server.

    Args:
        vitals: How the server is doing beside the requests that it answers, such as its endpoints.

    Attributes:
        requests: Those answered so far.
        ticker: Notices when the event loop was not free.
    """

    def __init__(self, vitals: Callable[[], Vitals]) -> None:
        self.requests = RequestStats()
        self.ticker = Ticker()
        self._vitals = vitals

    def page(self) -> bytes:
        """What Prometheus reads."""
        vitals = self._vitals()
        vitals.loop_lag_s = self.ticker.lag_s
        return page(chain(of_vitals(vitals), self.requests.families()))


class MetricsMiddleware:
    """Counts requests, watches the event loop and answers `GET /metrics`, unless the server has such a route itself.

    Args:
        app: The rest of the server.
        metrics: What is counted up; an app's stacks of middleware share it.
    """

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self._app = app
        self._metrics = metrics
        self._routes: frozenset[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or _SEEN in scope:
            await (self._live if scope["type"] == "lifespan" else self._app)(scope, receive, send)
            return
        scope[_SEEN] = True
        if self._routes is None:
            self._routes = _literal_routes(scope["app"])
        _, path = split_path(scope["path"])
        if path == PATH and scope["method"] == "GET" and path not in self._routes:
            await send_bytes(send, self._metrics.page(), CONTENT_TYPE_PLAIN_0_0_4.encode())
            return
        await self._count(path if path in self._routes else _OTHER, scope, receive, send)

    async def _count(self, route: str, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0
        began_s = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            self._metrics.requests.add(route, status, time.perf_counter() - began_s)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        ticking = asyncio.create_task(self._metrics.ticker.run())
        try:
            await self._app(scope, receive, send)
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking


def _literal_routes(app: FastAPI) -> frozenset[str]:
    paths = (getattr(route, "path", "{") for route in app.routes)
    return frozenset(path for path in paths if "{" not in path)
