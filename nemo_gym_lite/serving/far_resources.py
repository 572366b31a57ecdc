"""An environment behind HTTP: the same verbs as near, with the session's own cookies."""

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.serving.calls import json_bytes
from nemo_gym_lite.serving.client import JSON_HEADERS, Reply, get, post
from nemo_gym_lite.serving.cookies import CookieCrumbs
from nemo_gym_lite.serving.failures import json_of, object_of, verdict_of


class FarResources:
    """Opens sessions on a served environment.

    Args:
        base_url: `http://host:port` of the server.
        http: The process's session; not closed here.
        deadlines: When connecting, tool calls and checks end.
    """

    def __init__(self, base_url: str, http: aiohttp.ClientSession, deadlines: Deadlines | None = None) -> None:
        self.deadlines = deadlines or Deadlines()
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._verify_url = self.url("/verify")
        granted = f"{self.deadlines.verify_s:f}"
        self._verify_headers = {**JSON_HEADERS, "X-NG-Reply": "delta", "X-NG-Deadline-S": granted}
        self._facts: Json | None = None
        self._asking = asyncio.Lock()

    def open(self, session_id: str, cookies: Mapping[str, str] | None = None) -> "FarSession":
        """Start an episode's session, or go on with one whose cookies are known."""
        return FarSession(self, CookieCrumbs(cookies))

    async def verifies_later(self) -> bool:
        """Whether stored rollouts can be scored; True if the server does not say."""
        return bool((await self.facts()).get("verifies_later", True))

    async def has_metrics(self) -> bool:
        """Whether the environment has metrics of its own; True if the server does not say."""
        return bool((await self.facts()).get("has_metrics", True))

    async def aggregate_metrics(self, rows: list[Json]) -> Json | None:
        """The environment's metrics over `rows`, None if it has none of its own."""
        if not await self.has_metrics():
            return None
        body = orjson.dumps({"verify_responses": rows})
        reply = await self.post(self.url("/aggregate_metrics"), body, JSON_HEADERS, self.deadlines.verify_s)
        return object_of(reply.status, reply.body, "verify_failed", f"aggregate_metrics of {self._base_url}")

    async def close(self) -> None:
        """Nothing is held open here."""

    async def facts(self) -> Json:
        """What the server's `GET /` says about which calls it needs; empty if it is not ours."""
        if self._facts is None:
            async with self._asking:
                if self._facts is None:
                    reply = await get(self._http, self.url("/"), timeout_s=self.deadlines.connect_s)
                    self._facts = json_of(reply.body) if reply.status == 200 else {}
        return self._facts

    def url(self, path: str) -> URL:
        """URL of an encoded path."""
        return URL(f"{self._base_url}{path}", encoded=True)

    async def verify(self, body: bytes, cookies: CookieCrumbs) -> Reply:
        """POST to `/verify`; where checks queue for processes, the server minds each one's deadline itself."""
        queues = (await self.facts()).get("queues_checks", False)
        timeout_s = self.deadlines.episode_s if queues else self.deadlines.verify_s
        return await self.post(self._verify_url, body, self._verify_headers, timeout_s, cookies)

    async def post(
        self, url: URL, body: bytes, headers: dict[str, str], timeout_s: float, cookies: CookieCrumbs | None = None
    ) -> Reply:
        """POST with a session's cookies, and keep those of the reply."""
        if cookies is not None and (crumbs := cookies.header()):
            headers = {**headers, "Cookie": crumbs}
        connect_s = self.deadlines.connect_s
        reply = await post(self._http, url, body, headers, timeout_s=timeout_s, connect_s=connect_s)
        if cookies is not None:
            cookies.keep(reply.set_cookies)
        return reply


class FarSession:
    """One episode's session."""

    __slots__ = ("_resources", "cookies")

    def __init__(self, resources: FarResources, cookies: CookieCrumbs) -> None:
        self._resources = resources
        self.cookies = cookies

    async def seed(self, row: Json) -> Json:
        """Set up the session's state, if the environment has any."""
        resources = self._resources
        if not (await resources.facts()).get("seeds_sessions", True):
            return {}
        reply = await self._post("/seed_session", row)
        return object_of(reply.status, reply.body, "seed_failed", "seed_session")

    async def call_tool(self, name: str, arguments: Json) -> str:
        """The reply's body, whatever its status."""
        reply = await self._post(f"/{quote(name, safe='')}", arguments)
        return reply.body.decode(errors="replace")

    async def ask(self, path: str, value: Json, otherwise: str) -> Json:
        """The object that a route of the environment's own protocol replies."""
        reply = await self._post(path, value)
        return object_of(reply.status, reply.body, otherwise, path)

    async def verify(self, row: Json) -> Json:
        """The environment's fields for `row`."""
        reply = await self._resources.verify(orjson.dumps(row), self.cookies)
        return verdict_of(reply.status, reply.body, "verify")

    async def _post(self, path: str, value: Json) -> Reply:
        resources = self._resources
        body, timeout_s = json_bytes(value), resources.deadlines.tool_s
        return await resources.post(resources.url(path), body, JSON_HEADERS, timeout_s, self.cookies)
