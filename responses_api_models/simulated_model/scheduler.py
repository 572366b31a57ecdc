"""The engine's slots, queue and KV cache, and how long an answer takes."""

import asyncio
from collections import deque
from dataclasses import dataclass
from random import Random

from responses_api_models.simulated_model.kv_cache import KvCache
from responses_api_models.simulated_model.refusals import full_queue
from responses_api_models.simulated_model.settings import EngineSettings


@dataclass(eq=False, slots=True)
class _Request:
    """A request that is to be generated.

    Attributes:
        room_tokens: Tokens of the KV cache that it needs to begin: its prompt's, or what it held when preempted.
        seconds: How long its answer takes from the slot on, where nothing is thrown away.
        due_s: When its answer is due, on the loop's clock.
        turn: Done when the request gets a slot; None where it got one at once.
        due: Done when its answer is due, with whether it was preempted instead.
    """

    prompt_tokens: int
    generation_tokens: int
    room_tokens: float
    seconds: float
    due_s: float = 0.0
    turn: asyncio.Future[None] | None = None
    due: asyncio.Future[bool] | None = None


class Scheduler:
    """Gives each request a slot, first come first served, and holds it as long as the answer takes.

    Where the settings give a KV cache, a request also needs room for its prompt, and when the growing answers no
    longer fit, the youngest is preempted as in vLLM: it goes to the head of the queue and begins anew once there is
    room for what it held. So with too many requests at once time is spent on tokens that are thrown away.

    Attributes:
        running: Requests that hold a slot.
        preemptions: Requests that had to begin anew.
        slots: Answers generated at once; None has no limit.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.slots = settings.slots
        self.running = 0
        self.preemptions = 0
        self._max_queued = settings.max_queued
        self._latency = settings.latency
        self._random = Random(settings.seed)
        self._queue: deque[_Request] = deque()
        self._cache: KvCache[_Request] | None = None
        if settings.kv_cache_tokens is not None:
            self._cache = KvCache(settings.kv_cache_tokens)
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    def cache_use(self) -> float:
        """Share of the KV cache that running requests hold, 0 to 1; 0 where none was set."""
        return 0.0 if self._cache is None else self._cache.used(asyncio.get_running_loop().time())

    def resize(self, slots: int | None) -> None:
        """Have another number of slots from now on; what runs already runs to its end."""
        self.slots = slots
        self._fill()

    async def hold(self, prompt_tokens: int, generation_tokens: int) -> None:
        """Wait for a slot and for the answer's time; returns when the answer is due.

        Raises:
            EndpointError: The queue is full; holds vLLM's 503.
        """
        seconds = self._seconds(prompt_tokens, generation_tokens)
        request = _Request(prompt_tokens, generation_tokens, prompt_tokens, seconds)
        if not self._queue and self._has_room(request):
            self._begin(request)
        else:
            if self._max_queued is not None and len(self._queue) >= self._max_queued:
                raise full_queue()
            self._queue.append(request)
            await self._turn(request)
        while await self._generate(request):
            self.preemptions += 1
            self._queue.appendleft(request)
            await self._turn(request)

    async def _turn(self, request: _Request) -> None:
        """Wait in the queue; whoever hands over the slot begins the request."""
        request.turn = asyncio.get_running_loop().create_future()
        self._fill()
        try:
            await request.turn
        except asyncio.CancelledError:
            if request.turn.done() and not request.turn.cancelled():
                self._end(request)  # the slot came in the same moment as the cancellation
            elif request in self._queue:
                self._queue.remove(request)
                self._fill()
            raise

    async def _generate(self, request: _Request) -> bool:
        """Hold the slot as long as the answer takes; true if the request was preempted before."""
        preempted = False
        try:
            if self._cache is None:
                if request.seconds > 0:
                    await asyncio.sleep(request.seconds)
                return False
            preempted = await self._until_due(request)
        finally:
            self._end(request, preempted=preempted)
        return preempted

    async def _until_due(self, request: _Request) -> bool:
        loop = asyncio.get_running_loop()
        request.due = loop.create_future()
        timer = loop.call_at(request.due_s, _finish, request.due)
        self._watch()
        try:
            return await request.due
        finally:
            timer.cancel()

    def _watch(self) -> None:
        """Wake up when the cache overflows."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._cache is not None:
            loop = asyncio.get_running_loop()
            at_s = self._cache.overflows_s(loop.time())
            self._alarm = None if at_s is None else loop.call_at(at_s, self._preempt, self._cache)

    def _preempt(self, cache: KvCache[_Request]) -> None:
        """Send the youngest request back to the queue."""
        self._alarm = None
        youngest = cache.youngest()
        if youngest.due is not None and not youngest.due.done():
            youngest.room_tokens = cache.held(youngest, asyncio.get_running_loop().time())
            youngest.due.set_result(True)

    def _has_room(self, request: _Request) -> bool:
        if self.slots is not None and self.running >= self.slots:
            return False
        return self._cache is None or self._cache.fits(request.room_tokens, asyncio.get_running_loop().time())

    def _begin(self, request: _Request) -> None:
        self.running += 1
        if self._cache is not None:
            now_s = asyncio.get_running_loop().time()
            request.due_s = now_s + request.seconds * self._cache.slowdown()
            self._cache.enter(request, request.prompt_tokens, request.generation_tokens, request.due_s, now_s)

    def _end(self, request: _Request, *, preempted: bool = False) -> None:
        self.running -= 1
        if self._cache is not None:
            self._cache.leave(request, asyncio.get_running_loop().time(), preempted=preempted)
            self._watch()
        if self._queue:
            self._fill()

    def _fill(self) -> None:
        """Hand free slots to those who wait."""
        while self._queue and self._has_room(self._queue[0]):
            request = self._queue.popleft()
            if request.turn is not None and not request.turn.done():
                self._begin(request)
                request.turn.set_result(None)

    def _seconds(self, prompt_tokens: int, generation_tokens: int) -> float:
        latency = self._latency
        seconds = (
            latency.ttft_s + latency.prompt_token_s * prompt_tokens + latency.token_s * generation_tokens
        ) / latency.speed
        if seconds and latency.jitter:
            seconds *= 1 + self._random.uniform(-latency.jitter, latency.jitter)
        return seconds


def _finish(due: asyncio.Future[bool]) -> None:
    if not due.done():
        due.set_result(False)
