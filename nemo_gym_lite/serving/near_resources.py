"""An environment called in this process: the same endpoints, without HTTP between."""

import asyncio

import orjson
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nemo_gym_lite.base_resources_server import AggregateMetricsRequest, SimpleResourcesServer
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.reward_profile import compute_aggregate_metrics
from nemo_gym_lite.serving.app import PlainRoute, ServerApp
from nemo_gym_lite.serving.asgi import DEADLINE_HEADER, DELTA, REPLY_HEADER, call_app, post_scope
from nemo_gym_lite.serving.calls import json_bytes
from nemo_gym_lite.serving.failures import object_of, verdict_of
from nemo_gym_lite.serving.middleware import SESSION_ID_KEY, JsonErrorMiddleware

_HEADERS = [(b"content-type", b"application/json")]


class NearResources:
    """Opens sessions on an environment that lives in this process.

    Its app is built once and never started: an environment that needs start-up hooks is placed far.

    Args:
        server: The environment.
        deadlines: When tool calls and checks end.
    """

    def __init__(self, server: SimpleResourcesServer, deadlines: Deadlines | None = None) -> None:
        self.server = server
        self.deadlines = deadlines or Deadlines()
        self.name = server.config.name
        self.seeds_sessions = server.seeds_sessions()
        self.app = server.build_app()
        self._plain: dict[str, PlainRoute] = {}
        if isinstance(self.app, ServerApp):
            self._plain = self.app.plain_routes
        # Where checks queue for processes, the deadline is each check's own and not the queue's.
        self.verify_s = None if server.config.verify_pool else self.deadlines.verify_s
        self._verify_headers = [
            *_HEADERS,
            (REPLY_HEADER, DELTA),
            (DEADLINE_HEADER, f"{self.deadlines.verify_s:f}".encode()),
        ]

    def open(self, session_id: str) -> "NearSession":
        """Start an episode's session."""
        return NearSession(self, session_id)

    async def verifies_later(self) -> bool:
        """Whether stored rollouts can be scored."""
        return self.server.verifies_later()

    async def has_metrics(self) -> bool:
        """Whether the environment has metrics of its own."""
        return self.server.has_metrics()

    async def aggregate_metrics(self, rows: list[Json]) -> Json | None:
        """The environment's metrics over `rows`, None if it has none of its own."""
        if not self.server.has_metrics():
            return None
        server = self.server
        if type(server).aggregate_metrics is SimpleResourcesServer.aggregate_metrics:
            own = compute_aggregate_metrics(rows, server.compute_metrics, server.get_key_metrics, with_groups=False)
        else:
            own = await server.aggregate_metrics(AggregateMetricsRequest(verify_responses=rows))
        return own.model_dump(mode="json")

    async def close(self) -> None:
        """Close what the environment opened: connections to a judge, processes for checks."""
        await self.server._release()

    async def call(
        self, path: str, body: bytes, session: Json, timeout_s: float | None, *, delta: bool = False
    ) -> tuple[int, bytes]:
        """What `POST path` would answer: status and body. With `delta`, without the echo of the request.

        Raises:
            FailedCallError: `timeout`.
        """
        scope = post_scope(self.app, path, self._verify_headers if delta else _HEADERS, session)
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                return await self._answer(path, scope, body, delta)
        except Exception as error:  # an author's code may raise anything, and it is told as the server would
            if deadline.expired():
                message = f"POST {path} of {self.name} took longer than {timeout_s:g} s"
                raise FailedCallError("timeout", message) from error
            return await self._explain(error, scope)

    async def _answer(self, path: str, scope: Scope, body: bytes, delta: bool) -> tuple[int, bytes]:
        route = self._plain.get(path)
        plain = route.plain if route is not None else None
        arguments = plain.arguments(scope, body) if plain is not None else None
        if plain is None or arguments is None:
            return await call_app(self.app, scope, body)
        result = await plain.call(arguments)
        if isinstance(result, Response):
            return await call_app(result, scope, body)
        return 200, plain.dump(result, delta=delta)

    async def _explain(self, error: Exception, scope: Scope) -> tuple[int, bytes]:
        """The reply into which the server's exception handlers turn `error`."""

        async def fail(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        handled = ExceptionMiddleware(fail, handlers=self.app.exception_handlers)
        served = JsonErrorMiddleware(handled, server=self.server.get_session_middleware_key())
        return await call_app(served, scope, b"")


class NearSession:
    """One episode's session; its id is the episode's."""

    __slots__ = ("_resources", "_session")

    def __init__(self, resources: NearResources, session_id: str) -> None:
        self._resources = resources
        self._session: Json = {SESSION_ID_KEY: session_id}

    async def seed(self, row: Json) -> Json:
        """Set up the session's state, if the environment has any."""
        resources = self._resources
        if not resources.seeds_sessions:
            return {}
        body = orjson.dumps(row)
        status, reply = await resources.call("/seed_session", body, self._session, resources.deadlines.tool_s)
        return object_of(status, reply, "seed_failed", f"seed_session of {resources.name}")

    async def call_tool(self, name: str, arguments: Json) -> str:
        """The reply's body, whatever its status."""
        resources = self._resources
        body = json_bytes(arguments)
        _, reply = await resources.call(f"/{name}", body, self._session, resources.deadlines.tool_s)
        return reply.decode(errors="replace")

    async def ask(self, path: str, value: Json, otherwise: str) -> Json:
        """The object that a route of the environment's own protocol replies."""
        resources = self._resources
        status, reply = await resources.call(path, json_bytes(value), self._session, resources.deadlines.tool_s)
        return object_of(status, reply, otherwise, f"{path} of {resources.name}")

    async def verify(self, row: Json) -> Json:
        """The environment's fields for `row`."""
        resources = self._resources
        body = orjson.dumps(row)
        status, reply = await resources.call("/verify", body, self._session, resources.verify_s, delta=True)
        return verdict_of(status, reply, f"verify of {resources.name}")
