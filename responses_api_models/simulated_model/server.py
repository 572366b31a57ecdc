"""The simulated engine as an HTTP server that speaks vLLM's routes.

It is aiohttp's low-level server: resets and half bodies need the connection, and routing is one lookup.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import orjson
from aiohttp import web

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects.sse import chat_stream, responses_stream
from nemo_gym_lite.dialects.streamed import plain_chat
from nemo_gym_lite.errors import EndpointError
from responses_api_models.simulated_model.answer_keys import key_files, read_answer_keys
from responses_api_models.simulated_model.answers import Answer
from responses_api_models.simulated_model.arrivals import Arrivals
from responses_api_models.simulated_model.controls import Controls, Route
from responses_api_models.simulated_model.conversation import Conversation, of_chat, of_responses
from responses_api_models.simulated_model.faults import FAULT_BODIES, FAULT_STATUS, FaultDice
from responses_api_models.simulated_model.metrics_page import metrics_page
from responses_api_models.simulated_model.policy import Policy
from responses_api_models.simulated_model.rate_limits import RateGate
from responses_api_models.simulated_model.refusals import (
    over_long_prompt,
    refusal,
    unanswerable_limit,
    unknown_model,
)
from responses_api_models.simulated_model.replies import chat_reply, responses_reply
from responses_api_models.simulated_model.scheduler import Scheduler
from responses_api_models.simulated_model.settings import EngineSettings
from responses_api_models.simulated_model.stats import EngineStats
from responses_api_models.simulated_model.wire import (
    JSON,
    STREAM,
    bytes_reply,
    half_body,
    json_reply,
    parse_json,
    read_json,
    reset,
)


class Dialect(NamedTuple):
    """How a request is read and its answer written."""

    read: Callable[[Json], Conversation]
    write: Callable[[Json, Conversation, Answer, int], Json]
    stream: Callable[[Json, Json], bytes]


class Arrival(NamedTuple):
    """A generation request that came in.

    Attributes:
        returning: Whether its session has been here before.
        arrivals: Where it is noted, even if the counts begin anew meanwhile.
        number: Its number there.
    """

    returning: bool
    arrivals: Arrivals
    number: int


CHAT = Dialect(of_chat, chat_reply, lambda body, reply: chat_stream(reply, with_usage=plain_chat(body)[1]))
RESPONSES = Dialect(of_responses, responses_reply, lambda _, reply: responses_stream(reply, {}))

_CLOSE_S = 0.1
"""Seconds that stopping waits for open requests: an engine that hangs must still be able to stop."""


class SimulatedEngine:
    """One engine.

    Attributes:
        settings: What it was told.
        stats: What it has seen.
        faults: How it misbehaves; `faults.load(Faults(...))` changes that while it runs.
        limits: What it lets pass; `limits.load(Limits(...))` changes that while it runs.
        scheduler: Its slots; `scheduler.resize(8)` changes their number while it runs.
    """

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        kept = (self.settings.sessions_kept, self.settings.prompts_kept, self.settings.arrivals_kept)
        self.stats = EngineStats(*kept)
        self.faults = FaultDice(self.settings.faults, self.settings.seed)
        self.limits = RateGate(self.settings.limits)
        self.scheduler = Scheduler(self.settings)
        self.port = 0
        self._policy = Policy(self.settings, read_answer_keys(key_files(self.settings.answer_keys)))
        self._routes: dict[tuple[str, str], Route] = {
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/responses"): self._responses,
            ("POST", "/tokenize"): self._tokenize,
            ("GET", "/v1/models"): self._models,
            ("GET", "/health"): _health,
            ("GET", "/"): self._liveness,
            **Controls(self.stats, self.faults, self.limits, self.scheduler).routes(),
        }
        if self.settings.serves_metrics:
            self._routes["GET", "/metrics"] = self._metrics
        self._paths = {path: method for method, path in self._routes}
        self._runner: web.ServerRunner | None = None
        self._server: web.Server | None = None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What goes into `policy_base_url`: the URL with `/v1`."""
        return f"{self.url}/v1"

    async def start(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        """Listen; port 0 takes a free one, None the one it had before it was stopped."""
        self._server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=_CLOSE_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, self.port if port is None else port, backlog=2048)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._runner is not None and self._server is not None:
            for connection in self._server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await self._runner.cleanup()
            self._runner = self._server = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Find the route; unknown ones get vLLM's (FastAPI's) replies."""
        route = self._routes.get((request.method, request.path))
        if route is not None:
            return await route(request)
        if method := self._paths.get(request.path):
            return json_reply({"detail": "Method Not Allowed"}, 405, {"Allow": method})
        return json_reply({"detail": "Not Found"}, 404)

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._counted(request, CHAT)

    async def _responses(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._counted(request, RESPONSES)

    async def _counted(self, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
        """Answer a generation request, and count it whatever becomes of it."""
        stats = self.stats
        returning = stats.arrive(request.headers.get("X-Session-ID"))
        arrival = Arrival(returning, stats.arrivals, stats.arrivals.add())
        self._note(calls=1)
        status: int | None = None
        try:
            reply = await self._generate(request, dialect, arrival)
            closing = request.transport is None or request.transport.is_closing()
            status = None if closing else reply.status  # of a broken reply no status line can be trusted
        except EndpointError as error:
            status = error.status or 500
            stats.rejected += status == 503
            reply = bytes_reply(error.body, status, self._headers(error))
        except asyncio.CancelledError:
            stats.aborted += 1
            raise
        finally:
            stats.leave(status)
            if status is not None:
                arrival.arrivals.ended(arrival.number, status)
            self._note()
        return reply

    def _note(self, calls: int = 0, completed: int = 0, tokens: int = 0) -> None:
        """Write what has just happened into the history."""
        scheduler = self.scheduler
        load = (self.stats.in_flight, scheduler.running, scheduler.waiting)
        self.stats.history.note(*load, calls, completed, tokens)

    def _headers(self, error: EndpointError) -> dict[str, str] | None:
        """What a refusal says about rate limits."""
        if error.retry_after_s is None:
            return self.limits.headers()
        return {**(self.limits.headers() or {}), **self.limits.retry_headers(error.retry_after_s)}

    async def _generate(self, request: web.BaseRequest, dialect: Dialect, arrival: Arrival) -> web.StreamResponse:
        content = await request.content.read()
        fault = self.faults.draw()
        if fault is not None and (reply := await self._fault_without_answer(request, fault)) is not None:
            return reply
        self.limits.admit()
        body = parse_json(content)
        conversation = dialect.read(body)
        prompt_tokens = self._checked(body, conversation)
        arrival.arrivals.took(arrival.number, prompt_tokens)
        charged = self.limits.charge(prompt_tokens + (conversation.max_tokens or 0))
        if arrival.returning and conversation.turn:
            self.stats.cached_tokens += conversation.seen_tokens()
        occurrence = self.stats.begin(conversation.digest)
        try:
            answer = self._policy.answer(conversation, occurrence)
            if answer.fault is not None:
                fault = answer.fault
                if (reply := await self._fault_without_answer(request, fault)) is not None:
                    return reply
            generated = answer.completion_tokens()
            await self.scheduler.hold(prompt_tokens, generated)
            written = dialect.write(body, conversation, answer, prompt_tokens)
            streams = bool(body.get("stream"))  # the whole answer at once, at its end
            content = dialect.stream(body, written) if streams else orjson.dumps(written)
            if fault == "half_body":
                return half_body(request, content)
            self.limits.settle(charged, prompt_tokens + generated)
            arrival.arrivals.took(arrival.number, prompt_tokens + generated)
            self.stats.complete(conversation.digest, prompt_tokens, generated, answer.finish_reason)
            self._note(completed=1, tokens=prompt_tokens + generated)
            return bytes_reply(content, headers=self.limits.headers(), media_type=STREAM if streams else JSON)
        finally:
            self.stats.end(conversation.digest)

    async def _fault_without_answer(self, request: web.BaseRequest, fault: str) -> web.Response | None:
        """Play a fault; None where an answer is still due (`slow`, `half_body`)."""
        self.stats.by_fault[fault] += 1
        if fault in FAULT_BODIES:
            headers = self.faults.retry_after() if fault == "rate_limited" else None
            return bytes_reply(FAULT_BODIES[fault], FAULT_STATUS[fault], headers)
        if fault == "reset":
            return reset(request)
        if fault == "hang":
            await asyncio.get_running_loop().create_future()
        if fault == "slow":
            await asyncio.sleep(self.faults.faults.slow_s)
        return None

    def _checked(self, body: Json, conversation: Conversation) -> int:
        """Refuse what vLLM refuses; returns the prompt's tokens."""
        models, longest, limit = self.settings.models, self.settings.max_model_len, conversation.max_tokens
        body["model"] = body.get("model") or next(iter(models), "simulated")  # vLLM too answers who names none
        if models and body["model"] not in models:
            raise unknown_model(body["model"], models)
        if not conversation.rendered:
            message = "Cannot apply chat template to an empty conversation. Provide at least one message."
            raise refusal(message)
        if limit is not None and not 1 <= limit <= longest:
            raise unanswerable_limit(limit, longest)
        prompt_tokens = conversation.prompt_tokens()
        if prompt_tokens >= longest:
            raise over_long_prompt(longest)
        return prompt_tokens

    async def _tokenize(self, request: web.BaseRequest) -> web.Response:
        body = await read_json(request)
        if "prompt" in body:
            body = {"messages": [{"role": "user", "content": body["prompt"]}]}
        ids = of_chat(body).prompt_ids()
        return json_reply(
            {
                "count": len(ids),
                "max_model_len": self.settings.max_model_len,
                "tokens": ids,
                "token_strs": None,
            }
        )

    async def _models(self, _: web.BaseRequest) -> web.Response:
        names = self.settings.models or ("simulated",)
        card = {"object": "model", "created": 0, "owned_by": "simulated", "parent": None}
        length = self.settings.max_model_len
        cards = [{"id": name, **card, "root": name, "max_model_len": length, "permission": []} for name in names]
        return json_reply({"object": "list", "data": cards})

    async def _liveness(self, _: web.BaseRequest) -> web.Response:
        return json_reply({"status": "ok", "name": "simulated_model"})

    async def _metrics(self, _: web.BaseRequest) -> web.Response:
        page = metrics_page(self.stats, self.scheduler, self.settings)
        return web.Response(body=page, content_type="text/plain", charset="utf-8")


@asynccontextmanager
async def running_engine(settings: EngineSettings | None = None, port: int = 0) -> AsyncIterator[SimulatedEngine]:
    """An engine that listens on 127.0.0.1 for the length of the block, in this event loop."""
    engine = SimulatedEngine(settings)
    await engine.start(port=port)
    try:
        yield engine
    finally:
        await engine.stop()


async def _health(_: web.BaseRequest) -> web.Response:
    return web.Response()
