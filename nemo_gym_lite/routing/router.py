"""Sends a model call to an endpoint until one answers: the only retry loop of the package."""

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.clock import Clock
from nemo_gym_lite.episode import at_endpoint
from nemo_gym_lite.errors import EndpointError, NoHealthyEndpointError
from nemo_gym_lite.routing.call_stats import CallStats
from nemo_gym_lite.routing.endpoint import Endpoint
from nemo_gym_lite.routing.endpoint_state import EndpointState
from nemo_gym_lite.routing.limiter import Limiter, Size, size_of, used_tokens
from nemo_gym_lite.routing.pool import EndpointPool
from nemo_gym_lite.routing.retry import BUSY_STATUSES, CallBudget, RetryPolicy


class Router:
    """Model calls over a pool of endpoints that serve the same model.

    A call that fails on one endpoint goes to another one; a rollout is lost only when none is left that
    could answer.

    Args:
        endpoints: Where requests go; those that join the pool later are asked in the same way.
        pool: Chooses among them; built over the same base URLs in the same order.
        policy: Attempts, seconds and waits of each call.
        clock: Source of time.
        limiter: Keeps a model's limits per minute; asked before each request.
        max_in_flight: Calls at the same time, None for no limit; further ones queue.
        rng: Source of the jitter.

    Attributes:
        stats: What became of the requests so far.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        pool: EndpointPool,
        policy: RetryPolicy,
        clock: Clock,
        *,
        limiter: Limiter | None = None,
        max_in_flight: int | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.pool = pool
        self.stats = CallStats()
        self._endpoints = {state.base_url: one for state, one in zip(pool.states, endpoints, strict=True)}
        self._limiter = limiter
        self._policy, self._clock, self._rng = policy, clock, rng or random.Random()
        self._slots: AbstractAsyncContextManager[None] = (
            nullcontext() if max_in_flight is None else asyncio.Semaphore(max_in_flight)
        )

    async def call(self, session_id: str, path: str, body: Json) -> Json:
        """POST `body` as JSON to `path` below an endpoint's base URL and return its answer.

        Raises:
            EndpointError: The request itself is at fault, or the budget of attempts or seconds is spent.
            NoHealthyEndpointError: Every endpoint has been down for longer than the pool's patience.
        """
        payload = orjson.dumps(body)
        size = size_of(body, len(payload))
        async with self._slots:
            return await self._send(session_id, path, payload, size)

    def end_session(self, session_id: str) -> None:
        """Forget a finished session; unknown ids are ignored."""
        self.pool.end_session(session_id)

    def share(self, workers: int) -> None:
        """Keep to an equal part of the limits per minute, as one of `workers` processes.

        Raises:
            ConfigError: There are more workers than requests per minute.
        """
        if self._limiter is not None:
            self._limiter.share(workers)

    async def _send(self, session_id: str, path: str, payload: bytes, size: Size) -> Json:
        budget = CallBudget(self._policy, self._clock.now())
        tried: list[EndpointState] = []
        avoid: Collection[EndpointState] = ()
        refusal: EndpointError | None = None
        while True:
            at_endpoint(None)
            try:
                state, ticket = await self._lease(session_id, avoid, budget, size)
            except NoHealthyEndpointError:
                if refusal is None:
                    raise
                refusal.hint = _effort(budget, self._clock.now())
                raise refusal from None  # it was sent, and refused: that says more than that none was open
            at_endpoint(state.base_url)
            began_s = self._clock.now()
            try:
                answer, headers = await self._at(state).post(path, payload, session_id)
            except EndpointError as error:
                self._note_failure(session_id, state, error, self._clock.now() - began_s, ticket)
                refusal = error if error.status in BUSY_STATUSES else None
                tried.append(state)
                fresh = self.pool.has_open(tried)
                wait_s = budget.next_wait_s(error, self._clock.now(), fresh=fresh, rng=self._rng)
                if wait_s is None:
                    error.hint = error.hint or _effort(budget, self._clock.now())
                    raise
            except BaseException:  # cancelled: hand the endpoint back, whatever it was
                self.pool.abandoned(state)
                self._settle(ticket, None, {})
                raise
            else:
                latency_s = self._clock.now() - began_s
                self.pool.succeeded(state, latency_s)
                self.stats.add(latency_s, answer.get("usage"))
                self._settle(ticket, used_tokens(answer), headers)
                return answer
            avoid = tried if fresh else (state,)
            await self._clock.sleep(wait_s)

    async def _lease(
        self, session_id: str, avoid: Collection[EndpointState], budget: CallBudget, size: Size
    ) -> tuple[EndpointState, Any]:
        """An endpoint that takes the request now, and the limiter's ticket for it."""
        while True:
            state = await self.pool.acquire(session_id, avoid, budget.ends_s)
            ticket = None
            if self._limiter is not None:
                asked_s = self._clock.now()
                try:
                    ticket = await self._limiter.admit(size)
                except BaseException:  # cancelled while it waited
                    self.pool.abandoned(state)
                    raise
                budget.began_s += self._clock.now() - asked_s  # limits of our own cost a call nothing
            if not self.pool.is_paused(state):
                return state, ticket
            self.pool.abandoned(state)  # it has asked for patience since it was chosen
            if self._limiter is not None:
                self._limiter.withdraw(ticket)

    def _at(self, state: EndpointState) -> Endpoint:
        """The endpoint of a state; one that has joined is asked like the others."""
        endpoint = self._endpoints.get(state.base_url)
        if endpoint is None:
            endpoint = self._endpoints[state.base_url] = next(iter(self._endpoints.values())).at(state.base_url)
        return endpoint

    def _note_failure(
        self, session_id: str, state: EndpointState, error: EndpointError, took_s: float, ticket: Any
    ) -> None:
        self.pool.failed(session_id, state, error, took_s)
        self.stats.add_failure(error.failure_class, busy=error.status in BUSY_STATUSES)
        self._settle(ticket, None if error.status is None else 0, error.rate_limits)

    def _settle(self, ticket: Any, tokens: int | None, headers: Mapping[str, str]) -> None:
        if self._limiter is not None:
            self._limiter.settle(ticket, tokens, headers)


def _effort(budget: CallBudget, now_s: float) -> str:
    """What was done before giving up, for the failure's text."""
    if budget.requests < 2:
        return ""
    return f"gave up after {budget.requests} requests in {now_s - budget.began_s:.0f} s"
