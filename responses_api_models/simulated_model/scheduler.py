"""The engine's slots and queue, and how long an answer takes."""

import asyncio
from collections import deque
from random import Random

from responses_api_models.simulated_model.refusals import full_queue
from responses_api_models.simulated_model.settings import EngineSettings


class Scheduler:
    """Gives each request a slot, first come first served, and holds it as long as the answer takes.

    Attributes:
        running: Requests that hold a slot.
        waiting: Requests in the queue.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._slots = settings.slots
        self._max_queued = settings.max_queued
        self._latency = settings.latency
        self._random = Random(settings.seed)
        self._queue: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    async def hold(self, prompt_tokens: int, generation_tokens: int) -> None:
        """Wait for a slot and for the answer's time; returns when the answer is due.

        Raises:
            EndpointError: The queue is full; holds vLLM's 503.
        """
        if self._slots is not None and self.running >= self._slots:
            await self._queue_up()  # a slot is handed over, so `running` stays as it is
        else:
            self.running += 1
        try:
            if (seconds := self._seconds(prompt_tokens, generation_tokens)) > 0:
                await asyncio.sleep(seconds)
        finally:
            self._release()

    async def _queue_up(self) -> None:
        if self._max_queued is not None and len(self._queue) >= self._max_queued:
            raise full_queue()
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # the slot came in the same moment as the cancellation
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _release(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _seconds(self, prompt_tokens: int, generation_tokens: int) -> float:
        latency = self._latency
        seconds = (
            latency.ttft_s + latency.prompt_token_s * prompt_tokens + latency.token_s * generation_tokens
        ) / latency.speed
        if seconds and latency.jitter:
            seconds *= 1 + self._random.uniform(-latency.jitter, latency.jitter)
        return seconds
