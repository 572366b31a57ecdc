"""What was seen of a run while it played: averages over its time, from which its bottleneck is told."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from nemo_gym_lite.bottleneck.loop_time import NO_TIME, LoopTime

QUEUE_SHARE = 0.03
"""A queue counts from this share of what runs: a request that comes and is begun waits for a moment, too."""


MOST = 0.5
"""Share of the readings, the endpoints or the time that counts as most of them."""

LARGE = 0.4
"""Share of the rollouts' time that is worth a word."""


def is_queue(running: float, waiting: float) -> bool:
    """Whether so many wait at an engine that it is never short of work."""
    return waiting >= max(1.0, QUEUE_SHARE * running)


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """What an engine said on its metrics page, on average.

    Attributes:
        running: Requests being generated.
        waiting: Requests in its queue.
        queued: Share of the readings that found a queue.
        cache_use: Share of its KV cache in use.
        preempted: Requests thrown out of the cache while we looked.
    """

    running: float
    waiting: float
    queued: float = 0.0
    cache_use: float = 0.0
    preempted: int = 0


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """One endpoint of a model.

    Attributes:
        model: The model's instance.
        base_url: Which one.
        in_flight: Requests there, on average.
        answered: Requests that it answered.
        answer_s: Seconds that an answer took, waiting at the engine included; infinite if none came.
        down: Share of the time in which it rested after failures.
        last_error: Its last failure.
        engine: What it said of itself; None where it says nothing.
    """

    model: str
    base_url: str
    in_flight: float
    answered: int
    answer_s: float = math.inf
    down: float = 0.0
    last_error: str = ""
    engine: EngineSeen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """One run.

    Attributes:
        looked_s: Seconds over which these are averages.
        in_flight: Rollouts in flight.
        waits: How many of them waited for what: `model`, `leave` (to ask it), or their stage.
        limit: Rollouts that were allowed in flight, at the end.
        mean_limit: The same on average.
        filled: Share of the limit in flight, as long as there was something left to begin.
        begun: Share of the time in which everything had been begun.
        auto: Whether the limit was found and not given.
        answered: Model calls answered.
        refused: Model calls refused because they were too many.
        endpoints: What is known of those.
        workers: Processes that played.
        players: Shares of the time that their event loops had something to do.
        collector: The same of the collector's own.
        held_s: The longest that an event loop was kept from everything else.
        own_engine: Whether an engine is in the collector's process.
    """

    looked_s: float
    in_flight: float
    limit: int
    waits: Mapping[str, float] = field(default_factory=dict)
    mean_limit: float = 0.0
    filled: float = 0.0
    begun: float = 0.0
    auto: bool = False
    answered: int = 0
    refused: int = 0
    endpoints: tuple[EndpointSeen, ...] = ()
    workers: int = 1
    players: LoopTime = NO_TIME
    collector: LoopTime = NO_TIME
    held_s: float = 0.0
    own_engine: bool = False

    def share(self, wait: str) -> float:
        """Share of the rollouts' time that was spent waiting for this."""
        return self.waits.get(wait, 0.0) / self.in_flight if self.in_flight else 0.0

    @property
    def engines(self) -> list[EngineSeen]:
        """Those that said anything, each once, however many models are there."""
        said = {each.base_url: each.engine for each in self.endpoints if each.engine is not None}
        return list(said.values())
