"""Which endpoint a request goes to, decided without awaiting, on the clock that is handed in; and who waits.

    up       takes requests
    down     tripped by failures: rests, then one request at a time goes there as a probe, until one succeeds
    paused   asked for patience: gets nothing for a time, then a few requests at a time; keeps its sessions
    leaving  is no longer on the list: gets nothing more

Requests wait only where no endpoint is open. Those that have the least time left go first, which is the order in which
their calls began: a call that was refused does not go to the end of the queue.
"""

import asyncio
import logging
import random
from collections.abc import Collection, Sequence
from typing import Protocol

from nemo_gym_lite.clock import Clock
from nemo_gym_lite.errors import EndpointError, NoHealthyEndpointError
from nemo_gym_lite.routing.breaker import Breaker, BreakerPolicy
from nemo_gym_lite.routing.endpoint_state import EndpointState
from nemo_gym_lite.routing.homes import Affinity, Homes, Placement
from nemo_gym_lite.routing.retry import BUSY_STATUSES
from nemo_gym_lite.routing.snapshot import EndpointSnapshot
from nemo_gym_lite.routing.waiting import Waiter, WaitingLine

QUIET_S = 60.0
"""An endpoint that goes in and out is reported once in this time."""

logger = logging.getLogger(__name__)


class UrlSource(Protocol):
    """Where the list of endpoints comes from while a run is going."""

    next_look_s: float
    """Clock time, in seconds, from which `look` is worth a call."""

    def look(self, now_s: float) -> Sequence[str] | None:
        """The base URLs if they have changed, else None."""
        ...


class EndpointPool:
    """Says which endpoint a request goes to, and learns from how it went.

    Args:
        urls: Base URLs, at least one.
        clock: Source of time.
        policy: What takes an endpoint out, and for how long.
        patience_s: Seconds that requests wait once all endpoints are down; after that they fail at once,
            except the probes.
        placement: How sessions are placed.
        affinity: Whether the sessions of a task stay together.
        margin: Requests in flight beyond the least loaded endpoint's that a session's home may have.
        source: Where endpoints that join and leave are told.
        rng: Breaks ties, and spreads pauses.
    """

    def __init__(
        self,
        urls: Sequence[str],
        clock: Clock,
        *,
        policy: BreakerPolicy | None = None,
        patience_s: float = 60.0,
        placement: Placement = "least_loaded",
        affinity: Affinity = "session",
        margin: int = 16,
        source: UrlSource | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._policy = policy or BreakerPolicy()
        self.states = tuple(EndpointState(url, Breaker(self._policy)) for url in urls)
        self._clock, self._rng = clock, rng or random.Random()
        self._homes = Homes(placement, affinity, margin, self._rng)
        self._patience_s, self._source = patience_s, source
        self._all_down_since_s: float | None = None
        self._last_error: EndpointError | None = None
        self._queue = WaitingLine(clock, self._wake)

    async def acquire(
        self, session_id: str, avoid: Collection[EndpointState] = (), until_s: float = float("inf")
    ) -> EndpointState:
        """Choose the endpoint of one request, one of `avoid` only if no other is open; waits if none is.

        Every acquired endpoint is handed back by exactly one of `succeeded`, `failed` and `abandoned`.

        Raises:
            NoHealthyEndpointError: All endpoints have been down for `patience_s`, or none opened before `until_s`.
        """
        now = self._clock.now()
        self._look(now)
        state = None if self._queue else self._place(session_id, avoid, now)
        return await self._wait(session_id, avoid, until_s) if state is None else state

    def succeeded(self, state: EndpointState, latency_s: float = 0.0) -> None:
        """The request was answered after `latency_s` seconds."""
        state.answered += 1
        state.time_answer(latency_s)
        now = self._clock.now()
        state.window.answer(state.in_flight, now - latency_s, now)
        self._revive(state)
        self._release(state)

    def abandoned(self, state: EndpointState) -> None:
        """The request was cancelled, which says nothing about the endpoint."""
        state.breaker.withdraw()
        self._release(state)

    def failed(self, session_id: str, state: EndpointState, error: EndpointError, took_s: float = 0.0) -> None:
        """The request failed after `took_s` seconds: moves the session, takes the endpoint out or pauses it."""
        state.failed += 1
        if not error.retryable:  # the request's fault, so the endpoint lives
            self._revive(state)
        else:
            self._report(state, error)
            state.last_error = self._last_error = error
            self._blame(session_id, state, error, took_s)
        self._release(state)

    def end_session(self, session_id: str) -> None:
        """Forget a finished session, else the table grows for the whole run."""
        self._homes.finish(session_id)

    def has_open(self, avoid: Collection[EndpointState]) -> bool:
        """Whether an endpoint outside `avoid` would take a request now."""
        now = self._clock.now()
        return any(state.is_open(now) for state in self.states if state not in avoid)

    def is_paused(self, state: EndpointState) -> bool:
        """Whether an endpoint asks for patience."""
        return state.window.pause_until_s > self._clock.now()

    def update(self, urls: Sequence[str]) -> None:
        """Take other endpoints from now on; what is in flight at those that leave is waited for."""
        known = {state.base_url: state for state in self.states}
        joined = [url for url in urls if url not in known]
        left = [state for url, state in known.items() if url not in urls and not state.leaving]
        for url in joined:
            known[url] = EndpointState(url, Breaker(self._policy))
        for url, state in known.items():
            state.leaving = url not in urls
        leaving = (state for state in known.values() if state.leaving and state.in_flight)
        self.states = (*(known[url] for url in urls), *leaving)
        self._note_outage()
        if joined or left:
            words = [f"{url} joined" for url in joined] + [f"{state.base_url} left" for state in left]
            logger.warning("model endpoints: %s", ", ".join(words))
        self._serve()

    def snapshot(self) -> tuple[EndpointSnapshot, ...]:
        """How the endpoints are doing, in the order in which they were configured."""
        now = self._clock.now()
        return tuple(state.snapshot(now) for state in self.states)

    def __repr__(self) -> str:
        return f"<EndpointPool {' '.join(map(repr, self.states))}>"

    def _place(self, session_id: str, avoid: Collection[EndpointState], now: float) -> EndpointState | None:
        """Take the endpoint for a request of this session, None if none is open."""
        home = self._homes.of(session_id)
        moves = home is None or home.leaving or home.breaker.down or self._homes.is_overloaded(home, self.states)
        if home is None or moves or home in avoid or not home.is_open(now):
            open_states = [state for state in self.states if state.is_open(now)]
            if not open_states:
                return None
            home = self._homes.choose(session_id, [state for state in open_states if state not in avoid] or open_states)
            if moves:
                self._homes.settle(session_id, home)
        home.in_flight += 1
        home.breaker.send(now)
        home.window.send(home.in_flight)
        return home

    async def _wait(self, session_id: str, avoid: Collection[EndpointState], until_s: float) -> EndpointState:
        waiter = Waiter(session_id, avoid, until_s)
        self._queue.add(waiter)
        self._serve()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                self._serve()
            elif waiter.granted.exception() is None:  # cancelled between the grant and its receipt
                self.abandoned(waiter.granted.result())
            raise

    def _serve(self) -> None:
        """Give those who wait what there is, and send those away for whom it comes too late."""
        now = self._clock.now()
        while waiter := self._queue.first():
            if state := self._place(waiter.session_id, waiter.avoid, now):
                self._queue.grant(state)
            elif now >= min(waiter.until_s, self._patience_ends_s()):
                self._queue.refuse(self._no_healthy_endpoint())
            else:
                break
        self._queue.ring_at(self._next_change_s(waiter.until_s, now) if waiter else float("inf"))

    def _next_change_s(self, until_s: float, now: float) -> float:
        """When the passing of time alone may change what a request that waits until `until_s` gets."""
        moments = [until_s, self._patience_ends_s(), *(state.next_change_s() for state in self.states)]
        if self._source is not None:
            moments.append(self._source.next_look_s)
        return min((moment for moment in moments if moment > now), default=float("inf"))

    def _patience_ends_s(self) -> float:
        return float("inf") if self._all_down_since_s is None else self._all_down_since_s + self._patience_s

    def _blame(self, session_id: str, state: EndpointState, error: EndpointError, took_s: float) -> None:
        """Hold a failure that is not the request's fault against the endpoint."""
        now = self._clock.now()
        if error.retry_after_s is not None or error.status in BUSY_STATUSES:
            state.window.refuse(state.in_flight, now - took_s, now, error.retry_after_s, self._rng)
        if error.retry_after_s is not None or error.failure_class == "rate_limited":
            self._revive(state)  # it answers; the session keeps its home and takes a detour
            return
        if self._homes.of(session_id) is state:
            self._homes.end(session_id)
        if state.breaker.fail(error, took_s, now, others_open=self.has_open({state})):
            self._report_outage(state, error, now)
            self._note_outage()

    def _release(self, state: EndpointState) -> None:
        state.in_flight -= 1
        if state.leaving and not state.in_flight:
            self.states = tuple(other for other in self.states if other is not state)
        if self._queue:
            self._serve()

    def _revive(self, state: EndpointState) -> None:
        """It answered: whatever was held against it is over."""
        if state.breaker.succeed():
            if state.outage_logged:
                logger.warning("model endpoint %s is back", state.base_url)
            state.outage_logged = False
            self._note_outage()

    def _note_outage(self) -> None:
        """Begin to lose patience when the last endpoint has gone, and regain it with the first."""
        if not all(state.breaker.down or state.leaving for state in self.states):
            self._all_down_since_s = None
        elif self._all_down_since_s is None:
            self._all_down_since_s = self._clock.now()

    def _wake(self) -> None:
        self._look(self._clock.now())
        self._serve()

    def _look(self, now: float) -> None:
        """See whether endpoints have joined or left; a look is due about once a second."""
        if self._source is not None and now >= self._source.next_look_s:
            urls = self._source.look(now)
            if urls is not None:
                self.update(urls)

    def _report(self, state: EndpointState, error: EndpointError) -> None:
        """Log the first failure of each class at once, and not the thousand that follow."""
        if error.failure_class not in state.reported:
            state.reported.add(error.failure_class)
            logger.warning("first %s at a model endpoint: %s", error.failure_class, error.message)

    @staticmethod
    def _report_outage(state: EndpointState, error: EndpointError, now: float) -> None:
        """Log an outage when it begins; of one that flutters, only what outlasts a probe or a minute."""
        if not state.outage_logged and (state.breaker.rests > 1 or now >= state.quiet_until_s):
            logger.warning("model endpoint %s is out after %s", state.base_url, error.message)
            state.outage_logged, state.quiet_until_s = True, now + QUIET_S

    def _no_healthy_endpoint(self) -> NoHealthyEndpointError:
        failure_class = self._last_error.failure_class if self._last_error else "unreachable"
        errors = {state.base_url: state.last_error for state in self.states}
        texts = {url: error.message if error else "has not answered yet" for url, error in errors.items()}
        return NoHealthyEndpointError(texts, failure_class)
