"""How many rollouts may be in flight: a state machine that is told what engines and calls do and answers with a limit.

Where engines tell what they do (vLLM's `/metrics`), they lead. As long as none has a queue and what was let in comes
to its end, the limit grows, at first by four for every completion (as in TCP's slow start, RFC 5681). A queue
that stands takes the limit back to what runs and a little more, so that engines always find something to begin; that
is no harm done, so growth goes on from there. Harm is a cache that throws work away (preemptions, as in prime-rl's
`ConcurrencyController`) and calls refused with 429: one cut for each episode of it, a time to cool down, and a ceiling
that is remembered (as CUBIC remembers where it lost packets, RFC 9438). A cut after which the same share is refused was
none's fault but the endpoints', and is not repeated.

Where engines tell nothing, or hold little of what is in flight (tools, checks or rate limits do), results lead; see
`payoff`. No clock is read and nothing is awaited here. All times are seconds of the caller's clock.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from nemo_gym_lite.routing.call_stats import CallStats
from nemo_gym_lite.routing.payoff import Payoff
from nemo_gym_lite.routing.refusals import CutTrial

START = 8
"""Rollouts in flight for each endpoint at first: little enough for an engine on a laptop, six doublings from 512."""

CUSHION = 0.1
"""Share of what runs that may wait at the engine: an ended request is replaced without a round trip to us."""

UNEVEN_CUSHION = 0.5
"""The same while an endpoint that runs as much has no queue: they differ, and the stronger must not go without."""

STANDS_S = 1.0
"""A queue that is gone within this time was a burst, such as the first turns of new rollouts."""

BINDS = 0.9
"""Share of the limit that has to be in flight for it to be the limit that holds the run back."""

EAGER, CAREFUL = 4.0, 1 / 8
"""Growth for each completion at the start, and after a queue or a cut; then it doubles with every round that goes
well, up to 1."""

PACES = ((0.9, 1 / 16), (0.5, 1 / 4), (0.1, 1.0))
"""Most growth for each completion where more than this share of a KV cache is in use: requests get longer, and what
does not fit is thrown away."""

THRASH = 0.05
"""Preemptions for each completion that are harm: each costs about one prefill."""

REFUSED = 0.1
"""Share of requests answered with 429 that is harm."""

DECAY = 0.8
"""What remains of a count of trouble at the next look."""

BACKOFF = 0.75
"""What a cut leaves."""

COOL_S = 5.0
"""Shortest time from one cut to the next; until what is in flight fits the limit, it is longer."""

COOLS = "cools down after "
"""What `why` begins with in the meantime."""

NEAR_CEILING, CEILING_S = 0.95, 120.0
"""How close to where trouble was the limit may come again, and for how long that is remembered."""

FORGET_S = 60.0
"""An endpoint that was not heard of for this long is gone, or tells nothing any more."""

ENGINE_LED, SMOOTH = 0.25, 0.3
"""Engines lead while they hold this share of what is in flight; the weight of the last look in its average."""

ENGINE_HOLDS = 1024
"""And while the limit is below this for each: beyond what vLLM serves at once by default, more has to bring more."""

QUICK_S, CALM_S = 0.5, 1.0
"""Time to the next look while the limit moves or may move fast, and otherwise."""


@dataclass(frozen=True, slots=True)
class EngineReading:
    """What one engine said of itself.

    Attributes:
        running: Requests being generated.
        waiting: Requests in its queue.
        cache_use: Share of its KV cache in use, 0 to 1.
        preemptions: Requests thrown out of the cache since the engine started.
    """

    running: int
    waiting: int
    cache_use: float
    preemptions: int


class Admission:
    """Keeps a limit.

    Args:
        endpoints: Number of model endpoints.
        most: Largest limit ever.

    Attributes:
        limit: Rollouts that may be in flight.
        why: What decided on the limit last, for people.
        interval_s: Time until the next call of `sensed`, in seconds.
    """

    def __init__(self, endpoints: int, most: int) -> None:
        self.limit = max(1, min(START * endpoints, most))
        self.why = "the start"
        self.interval_s = QUICK_S
        self._most = max(1, most)
        self._floor = min(max(1, endpoints), self._most)
        self._payoff = Payoff(self.limit)
        self._pace = EAGER
        self._credit = 0.0
        self._round = 0
        self._ended = self._done = self._refused = 0
        self._heard_s: dict[str, float] = {}
        self._preemptions: dict[str, int] = {}
        self._queues: deque[tuple[float, int]] = deque()
        self._engine_share = 1.0
        self._recent = [0.0, 0.0, 0.0]  # completions, preemptions, refusals
        self._trial = CutTrial()
        self._cut_s = -math.inf
        self._cooling = False
        self._ceiling = math.inf

    def ended(self) -> None:
        """A rollout has ended, however."""
        self._ended += 1

    def sensed(
        self, readings: Mapping[str, EngineReading | None], calls: CallStats, in_flight: int, now_s: float
    ) -> None:
        """Take a look and set `limit` anew; of an engine that cannot be asked or tells nothing, the reading is None."""
        before = self.limit
        engines = {url: reading for url, reading in readings.items() if reading is not None}
        stale = self._listen(readings, engines, now_s)
        done = self._count(calls, self._preempted(engines))
        queue = sum(engine.waiting for engine in engines.values())
        self._look_at(queue, now_s)
        if self._cools_down(in_flight, now_s):
            self._trim(engines, in_flight)
        elif harm := self._harm():
            self._cut(harm, in_flight, now_s)
        elif stale:
            self.why = "an engine's metrics are stale"
            self._trim(engines, in_flight)
        elif self._trim(engines, in_flight):
            pass
        elif 2 * queue > self._cushion(engines):
            self._credit, self.why = 0.0, "the engines are full"
        elif not BINDS * self.limit <= in_flight <= self.limit:
            self._payoff.forget_measurement()  # of another number in flight
        elif self._engines_lead(engines, in_flight):
            cache_use = max(engine.cache_use for engine in engines.values())
            self._grow(min([self._pace, *(pace for use, pace in PACES if cache_use > use)]), done)
        else:
            self._climb(in_flight, now_s)
        moving = self.limit != before or self._pace >= 1.0 or queue > self._cushion(engines)
        self.interval_s = QUICK_S if moving else CALM_S

    def _listen(
        self, readings: Mapping[str, EngineReading | None], engines: Mapping[str, EngineReading], now_s: float
    ) -> bool:
        """Whether an engine that used to tell is silent, and not yet for so long that it counts as gone."""
        self._heard_s = {url: at_s for url, at_s in self._heard_s.items() if url in readings}
        self._heard_s.update(dict.fromkeys(engines, now_s))
        return any(0 < now_s - at_s < FORGET_S for at_s in self._heard_s.values())

    def _count(self, calls: CallStats, preempted: int) -> int:
        """Take new figures in; returns the completions since the last look.

        A rollout has one model call or many, and of models behind another server no calls are seen here.
        """
        completed = max(self._ended, calls.answered)
        done, refused = max(0, completed - self._done), max(0, calls.rate_limited - self._refused)
        self._done, self._refused = completed, calls.rate_limited
        news = (done, preempted, refused)
        self._recent = [DECAY * old + new for old, new in zip(self._recent, news, strict=True)]
        return done

    def _preempted(self, engines: Mapping[str, EngineReading]) -> int:
        """Preemptions since the last look; an engine that was restarted counts from zero again."""
        known = self._preemptions
        new = sum(max(0, engine.preemptions - known.get(url, engine.preemptions)) for url, engine in engines.items())
        self._preemptions = known | {url: engine.preemptions for url, engine in engines.items()}
        return new

    def _look_at(self, queue: int, now_s: float) -> None:
        """Remember a second of queues."""
        self._queues.append((now_s, queue))
        while len(self._queues) > 1 and self._queues[1][0] <= now_s - STANDS_S:
            self._queues.popleft()

    def _standing_queue(self) -> int:
        """The shortest queue of the last second; 0 as long as no second was seen."""
        (first_s, _), (last_s, _) = self._queues[0], self._queues[-1]
        return min(queue for _, queue in self._queues) if last_s - first_s >= BINDS * STANDS_S else 0

    def _cools_down(self, in_flight: int, now_s: float) -> bool:
        if self._cooling:
            self._cooling = now_s < self._cut_s + COOL_S or in_flight > self.limit
            self.why = COOLS + self.why.removeprefix(COOLS) if self._cooling else "has cooled down"
            self._recent = [0.0, 0.0, 0.0]  # what comes now still belongs to the episode that was answered
        if now_s > self._cut_s + CEILING_S:
            self._ceiling = math.inf
        return self._cooling

    def _harm(self) -> str:
        """What goes wrong because of too much in flight, in words."""
        done, preempted, refused = self._recent
        if preempted >= 1 and preempted > THRASH * done:
            return f"{preempted:.0f} preemptions for {done:.0f} answers"
        if self._trial.is_harm(done, refused, REFUSED):
            return f"{refused:.0f} refusals (429) for {done:.0f} answers"
        if self._trial.in_vain:
            self._trial.in_vain, self._ceiling = False, math.inf
        return ""

    def _cut(self, why: str, in_flight: int, now_s: float, left: float = BACKOFF) -> None:
        """Answer an episode of trouble."""
        held = max(self._floor, min(self.limit, in_flight - self._standing_queue()))
        self._ceiling = held
        self.limit = max(self._floor, int(left * held), self._payoff.fallback(self.limit))
        self.why, self._cut_s, self._cooling = why, now_s, True
        self._be_careful()

    def _engines_lead(self, engines: Mapping[str, EngineReading], in_flight: int) -> bool:
        held = sum(engine.running + engine.waiting for engine in engines.values())
        self._engine_share += SMOOTH * (min(1.0, held / max(1, in_flight)) - self._engine_share)
        return self._engine_share >= ENGINE_LED and self.limit < ENGINE_HOLDS * len(engines)

    def _cushion(self, engines: Mapping[str, EngineReading]) -> int:
        """Requests that may wait."""
        queued = [engine.running for engine in engines.values() if engine.waiting]
        free = [engine.running for engine in engines.values() if not engine.waiting]
        uneven = queued and free and max(free) >= min(queued)
        share = UNEVEN_CUSHION if uneven else CUSHION
        return sum(max(1, math.ceil(share * engine.running)) for engine in engines.values())

    def _trim(self, engines: Mapping[str, EngineReading], in_flight: int) -> bool:
        """Take back what only stands in a queue."""
        standing, cushion = self._standing_queue(), self._cushion(engines)
        if standing <= cushion:
            return False
        fitting = max(self._floor, in_flight - standing + cushion)
        if fitting < self.limit:
            self.limit, self.why = fitting, f"{standing} requests wait at the engines"
            self._be_careful()
        return True

    def _grow(self, pace: float, done: int) -> None:
        """Let in some more for every completion, at most as much again as there is."""
        self._credit += pace * done
        self._round += done
        if self._round >= self.limit:
            self._round, self._pace = 0, max(self._pace, min(1.0, 2 * self._pace))
        step = min(int(self._credit), self.limit)
        if step > (room := self._highest() - self.limit):
            step, self._pace = max(0, room), CAREFUL
        if step > 0:
            self.limit, self._credit = self.limit + step, 0.0
            self.why = "nothing waits at the engines"

    def _be_careful(self) -> None:
        self._pace, self._credit, self._round = CAREFUL, 0.0, 0
        self._payoff.be_careful()

    def _highest(self) -> int:
        return min(self._most, max(self._floor, int(min(NEAR_CEILING * self._ceiling, self._most))))

    def _climb(self, in_flight: int, now_s: float) -> None:
        """Go where results say."""
        self._pace = CAREFUL  # should engines lead again
        advice = self._payoff.told(self.limit, self._done, self._highest(), now_s)
        if advice.slower:
            self._cut(advice.why, in_flight, now_s, left=advice.limit / self.limit)
        else:
            self.limit, self.why = advice.limit, advice.why or self.why
