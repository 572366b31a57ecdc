"""One page of metrics for Prometheus, on this machine alone: this process's own, and those of servers beside it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

import aiohttp
from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.families import labelled, page

HOST = "127.0.0.1"

_ANSWER_TIMEOUT_S = 2.0
"""Less than the ten seconds after which Prometheus gives the whole page up."""


class Exporter:
    """Serves `GET /metrics` for the length of an `async with` block. Nothing is read before somebody asks.

    Args:
        port: Where to listen; 0 takes a free one.
        servers: Gives the base URLs of servers by name, whose pages are taken in, each with a label `server`.
        own: Gives this process's own metrics.

    Attributes:
        url: The page.
    """

    def __init__(
        self, port: int, servers: Callable[[], Mapping[str, str]] = dict, own: Callable[[], Iterable[Metric]] = tuple
    ) -> None:
        self._port = port
        self._servers = servers
        self._own = own
        self._http: aiohttp.ClientSession
        self._runner: web.AppRunner
        self.url = ""

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            ConfigError: The port is in use.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._page)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"metrics_port: cannot listen on {HOST}:{self._port}: {error.strerror or error}",
                "choose another port, or 0 for any free one",
            ) from error
        self.url = f"http://{HOST}:{self._runner.addresses[0][1]}/metrics"
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_TIMEOUT_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.close()

    async def _page(self, _: web.Request) -> web.Response:
        servers = self._servers()
        texts = await asyncio.gather(*(self._text_of(url) for url in servers.values()))
        families = [*self._own(), *_of_servers(dict(zip(servers, texts, strict=True)))]
        return web.Response(body=page(families), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _text_of(self, url: str) -> str | None:
        """A server's own page, empty if it has none; None if it does not answer."""
        try:
            async with self._http.get(f"{url}/metrics") as reply:
                return await reply.text() if reply.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError):
            return None


def _of_servers(texts: Mapping[str, str | None]) -> Iterator[Metric]:
    up = GaugeMetricFamily("nemo_gym_server_up", "Whether the server answers", labels=["server"])
    for name, text in texts.items():
        up.add_metric([name], float(text is not None))
        try:
            yield from labelled(list(text_string_to_metric_families(text or "")), name)
        except ValueError:  # an author's own page, which is none that Prometheus could read
            continue
    if texts:
        yield up
