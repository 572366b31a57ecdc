"""Sticky placement: load decides where a session starts, and only failure moves it.

Staying keeps a session's growing prompt in one engine's prefix cache; a move costs a full prefill. Every
decision is made without awaiting, on the clock that is handed in.

    up      takes requests
    down    tripped by failures: rests, then one request at a time goes there as a probe, until one succeeds
    paused  asked for patience (Retry-After): gets nothing until then, keeps its sessions
"""

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Collection, Sequence

from nemo_gym_lite.clock import Clock
from nemo_gym_lite.errors import EndpointError, NoHealthyEndpointError
from nemo_gym_lite.routing.endpoint_state import EndpointState
from nemo_gym_lite.routing.retry import MISCONFIGURED_STATUSES
from nemo_gym_lite.routing.snapshot import EndpointSnapshot

FIRST_REST_S = 0.5
"""A first rest is short, so that a hiccup costs little; each rest in a row is twice the one before, up to
`rest_s`."""

SESSIONS_KEPT = 100_000
"""Homes remembered. Episodes that play in this process end their sessions; those of other processes are
forgotten by age, and forgetting a live one costs it one prefill."""

QUIET_S = 60.0
"""An endpoint that goes in and out is reported once in this time."""

logger = logging.getLogger(__name__)


class EndpointPool:
    """Says which endpoint a request goes to, and learns from how it went.

    Args:
        urls: Base URLs, at least one.
        clock: Source of time.
        trip_after: Failures in a row that take an endpoint out while another one is open. A sole endpoint
            that answers at all stays in: there is nothing better, and the requests themselves back off.
        rest_s: Longest rest before a probe, in seconds.
        patience_s: Seconds that requests wait once all endpoints are down; after that they fail at once,
            except the probes.
        rng: Breaks ties.
    """

    def __init__(
        self,
        urls: Sequence[str],
        clock: Clock,
        *,
        trip_after: int = 3,
        rest_s: float = 10.0,
        patience_s: float = 60.0,
        rng: random.Random | None = None,
    ) -> None:
        self.states = tuple(EndpointState(url) for url in urls)
        self._homes: OrderedDict[str, EndpointState] = OrderedDict()
        self._clock, self._rng = clock, rng or random.Random()
        self._trip_after, self._rest_s, self._patience_s = trip_after, rest_s, patience_s
        self._all_down_since_s: float | None = None
        self._last_error: EndpointError | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    async def acquire(
        self, session_id: str, avoid: Collection[EndpointState] = (), until_s: float = float("inf")
    ) -> EndpointState:
        """Choose the endpoint of one request; waits only if none is open.

        Every acquired endpoint is handed back by exactly one of `succeeded`, `failed` and `abandoned`.

        Args:
            session_id: The episode; its home is preferred.
            avoid: Endpoints not to take while another one is open.
            until_s: Clock time, in seconds, up to which waiting makes sense.

        Raises:
            NoHealthyEndpointError: All endpoints have been down for `patience_s`, or none opens before
                `until_s`.
        """
        while (state := self._place(session_id, avoid)) is None:
            await self._change(self._wait_s(until_s))
        state.in_flight += 1
        state.probing = state.down
        return state

    def succeeded(self, state: EndpointState, latency_s: float = 0.0) -> None:
        """The request was answered after `latency_s` seconds."""
        state.in_flight -= 1
        state.answered += 1
        state.time_answer(latency_s)
        self._revive(state)

    def abandoned(self, state: EndpointState) -> None:
        """The request was cancelled, which says nothing about the endpoint."""
        state.in_flight -= 1
        if state.probing:
            state.probing = False
            self._wake()

    def failed(self, session_id: str, state: EndpointState, error: EndpointError) -> None:
        """The request failed: moves the session, and trips or pauses the endpoint if that is called for."""
        state.in_flight -= 1
        state.failed += 1
        if not error.retryable:  # the request's fault, so the endpoint lives
            self._revive(state)
            return
        self._report(state, error)
        state.last_error = self._last_error = error
        if error.retry_after_s is not None:
            state.pause_until_s = max(state.pause_until_s, self._clock.now() + error.retry_after_s)
        if error.retry_after_s is not None or error.failure_class == "rate_limited":
            self._revive(state)  # it answers; the session keeps its home and takes a detour
            return
        if self._homes.get(session_id) is state:
            self.end_session(session_id)
        state.failures += 1
        if self._trips(state, error):
            self._trip(state, error)

    def end_session(self, session_id: str) -> None:
        """Forget a session, finished or about to move, else the table grows for the whole run."""
        home = self._homes.pop(session_id, None)
        if home is not None:
            home.sessions -= 1

    def has_open(self, avoid: Collection[EndpointState]) -> bool:
        """Whether an endpoint outside `avoid` would take a request now."""
        now = self._clock.now()
        return any(self._is_open(state, now) for state in self.states if state not in avoid)

    def is_paused(self, state: EndpointState) -> bool:
        """Whether an endpoint asks for patience."""
        return state.pause_until_s > self._clock.now()

    def snapshot(self) -> tuple[EndpointSnapshot, ...]:
        """How the endpoints are doing, in the order in which they were configured."""
        now = self._clock.now()
        return tuple(state.snapshot(now) for state in self.states)

    def __repr__(self) -> str:
        return f"<EndpointPool {' '.join(map(repr, self.states))}>"

    def _place(self, session_id: str, avoid: Collection[EndpointState]) -> EndpointState | None:
        """The endpoint for a request of this session, None if none is open."""
        now = self._clock.now()
        home = self._homes.get(session_id)
        if home is not None and home not in avoid and self._is_open(home, now):
            self._homes.move_to_end(session_id)
            return home
        candidates = [state for state in self.states if self._is_open(state, now)]
        candidates = [state for state in candidates if state not in avoid] or candidates
        if not candidates:
            return None
        best = min(candidates, key=lambda state: (state.in_flight, state.sessions, self._rng.random()))
        if home is None or home.down:
            self._settle(session_id, best)
        return best

    def _settle(self, session_id: str, home: EndpointState) -> None:
        self.end_session(session_id)
        self._homes[session_id] = home
        home.sessions += 1
        if len(self._homes) > SESSIONS_KEPT:
            _, left = self._homes.popitem(last=False)
            left.sessions -= 1

    @staticmethod
    def _is_open(state: EndpointState, now: float) -> bool:
        if state.down and (state.probing or state.rest_until_s > now):
            return False
        return state.pause_until_s <= now

    def _trips(self, state: EndpointState, error: EndpointError) -> bool:
        if state.probing or error.failure_class == "unreachable":
            return True
        hopeless = error.status in MISCONFIGURED_STATUSES or state.failures >= self._trip_after
        return hopeless and not state.down and self.has_open({state})

    def _trip(self, state: EndpointState, error: EndpointError) -> None:
        if state.down and not state.probing:
            return  # a straggler from before it went down
        patient = error.failure_class == "timeout"  # a probe that hangs costs its rollout a whole deadline
        rest_s = self._rest_s if patient else min(self._rest_s, FIRST_REST_S * 2.0 ** min(state.rests, 30))
        now = self._clock.now()
        self._report_outage(state, error, now)
        state.rests += 1
        state.rest_until_s, state.down, state.probing = now + rest_s, True, False
        if self._all_down_since_s is None and all(other.down for other in self.states):
            self._all_down_since_s = now
        self._wake()

    def _revive(self, state: EndpointState) -> None:
        """It answered: whatever was held against it is over."""
        state.failures = 0
        if state.down:
            if state.outage_logged:
                logger.warning("model endpoint %s is back", state.base_url)
            state.down = state.probing = state.outage_logged = False
            state.rests, state.rest_until_s = 0, 0.0
            self._all_down_since_s = None
            self._wake()

    def _report(self, state: EndpointState, error: EndpointError) -> None:
        """Log the first failure of each class at once, and not the thousand that follow."""
        if error.failure_class not in state.reported:
            state.reported.add(error.failure_class)
            logger.warning("first %s at a model endpoint: %s", error.failure_class, error.message)

    @staticmethod
    def _report_outage(state: EndpointState, error: EndpointError, now: float) -> None:
        """Log an outage when it begins; of one that flutters, only what outlasts a probe or a minute."""
        if not state.outage_logged and (state.probing or now >= state.quiet_until_s):
            logger.warning("model endpoint %s is out after %s", state.base_url, error.message)
            state.outage_logged, state.quiet_until_s = True, now + QUIET_S

    def _wait_s(self, until_s: float) -> float:
        """Seconds until something may change by the passing of time alone."""
        now = self._clock.now()
        opens_s = min((state.opens_s() for state in self.states if not state.probing), default=until_s)
        if self._all_down_since_s is not None:
            ends_s = self._all_down_since_s + self._patience_s
            if now >= ends_s:
                raise self._no_healthy_endpoint()
            opens_s = min(opens_s, ends_s)
        if opens_s > until_s or now >= until_s:
            raise self._no_healthy_endpoint()
        return opens_s - now

    def _no_healthy_endpoint(self) -> NoHealthyEndpointError:
        failure_class = self._last_error.failure_class if self._last_error else "unreachable"
        errors = {state.base_url: state.last_error for state in self.states}
        texts = {url: error.message if error else "has not answered yet" for url, error in errors.items()}
        return NoHealthyEndpointError(texts, failure_class)

    async def _change(self, seconds: float) -> None:
        """Return after `seconds`, or sooner if an endpoint's state has changed."""
        change = asyncio.get_running_loop().create_future()
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        self._waiters.add(change)
        try:
            await asyncio.wait({change, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiters.discard(change)
            timer.cancel()

    def _wake(self) -> None:
        for change in self._waiters:
            if not change.done():
                change.set_result(None)
