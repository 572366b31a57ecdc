"""A model of engines and rollouts in simulated time: minutes pass in milliseconds, and every run is the same."""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from nemo_gym_lite.routing.admission import Admission, EngineReading
from nemo_gym_lite.routing.call_stats import CallStats

ENGINE_LOOK_S = 0.05


@dataclass
class Engine:
    """Slots and a queue; beyond `cache` running requests, the youngest is thrown out and begins anew."""

    slots: int
    latency_s: Callable[[int, random.Random], float]
    cache: int = 10**9
    tells: bool = True
    refuses_beyond: int = 10**9
    running: dict[int, float] = field(default_factory=dict)
    waiting: deque[int] = field(default_factory=deque)
    preemptions: int = 0

    def reading(self) -> EngineReading | None:
        use = min(1.0, len(self.running) / self.cache)
        return EngineReading(len(self.running), len(self.waiting), use, self.preemptions) if self.tells else None


@dataclass(frozen=True)
class Moment:
    at_s: float
    limit: int
    in_flight: int
    delivered: int
    why: str


class Load:
    """Rollouts of one call each, kept at the limit, over engines; `elsewhere_s` is spent outside of them."""

    def __init__(
        self, engines: list[Engine], *, elsewhere_s: float = 0.0, most: int = 4096, limit: int | None = None
    ) -> None:
        self.engines, self.elsewhere_s = engines, elsewhere_s
        self.admission = Admission(len(engines), most)
        self.fixed = limit
        self.now_s = 0.0
        self.in_flight = self.delivered = 0
        self.calls = CallStats()
        self.history: list[Moment] = []
        self._random = random.Random(1)
        self._events: list[tuple[float, int, str, int, Engine | None]] = []
        self._ids = 0
        self._look()

    @property
    def limit(self) -> int:
        return self.admission.limit if self.fixed is None else self.fixed

    def run(self, seconds: float) -> "Load":
        end_s = self.now_s + seconds
        while self._events and self._events[0][0] <= end_s:
            self.now_s, _, what, rollout, engine = heapq.heappop(self._events)
            if what == "look":
                self._look()
            elif what == "answer" and engine is not None:
                self._answer(rollout, engine)
            elif what == "arrive":
                self._arrive(rollout)
            else:
                self._end()
            self._fill()
        self.now_s = end_s
        return self

    def rate(self, from_s: float, to_s: float = 1e9) -> float:
        """Rollouts per second between two moments."""
        part = [moment for moment in self.history if from_s <= moment.at_s <= to_s]
        return (part[-1].delivered - part[0].delivered) / (part[-1].at_s - part[0].at_s)

    def longest_above(self, limit: float, from_s: float = 0.0) -> float:
        """The longest time in seconds that more than `limit` were let in."""
        longest, since_s = 0.0, None
        for moment in self.history:
            if moment.at_s >= from_s and moment.limit > limit:
                since_s = moment.at_s if since_s is None else since_s
                longest = max(longest, moment.at_s - since_s)
            else:
                since_s = None
        return longest

    def limits(self, from_s: float, to_s: float = 1e9) -> list[int]:
        return [moment.limit for moment in self.history if from_s <= moment.at_s <= to_s]

    def _at(self, delay_s: float, what: str, rollout: int = 0, engine: Engine | None = None) -> None:
        self._ids += 1
        heapq.heappush(self._events, (self.now_s + delay_s, self._ids, what, rollout, engine))

    def _look(self) -> None:
        readings = {str(number): engine.reading() for number, engine in enumerate(self.engines)}
        self.admission.sensed(readings, self.calls, self.in_flight, self.now_s)
        moment = Moment(self.now_s, self.limit, self.in_flight, self.delivered, self.admission.why)
        self.history.append(moment)
        self._at(self.admission.interval_s, "look")

    def _fill(self) -> None:
        while self.in_flight < self.limit:
            self.in_flight += 1
            self._ids += 1
            self._arrive(self._ids)

    def _arrive(self, rollout: int) -> None:
        engine = min(self.engines, key=lambda each: (len(each.running) + len(each.waiting), self._random.random()))
        if len(engine.running) >= engine.refuses_beyond:
            self.calls.add_failure("rate_limited", busy=True)
            self._at(0.5 + self._random.random(), "arrive", rollout)
            return
        engine.waiting.append(rollout)
        self._schedule(engine)

    def _schedule(self, engine: Engine) -> None:
        while engine.waiting and len(engine.running) < engine.slots:
            rollout = engine.waiting.popleft()
            latency_s = engine.latency_s(len(engine.running) + 1, self._random)
            engine.running[rollout] = self.now_s + latency_s
            self._at(latency_s, "answer", rollout, engine)
        while len(engine.running) > engine.cache:
            youngest = next(reversed(engine.running))
            del engine.running[youngest]
            engine.preemptions += 1
            self._at(0.1, "arrive", youngest)

    def _answer(self, rollout: int, engine: Engine) -> None:
        if engine.running.get(rollout) != self.now_s:
            return  # thrown out in the meantime
        del engine.running[rollout]
        self.calls.add(0.0, None)
        self._schedule(engine)
        self._at(self.elsewhere_s * self._random.uniform(0.5, 1.5), "end", rollout)

    def _end(self) -> None:
        self.in_flight -= 1
        self.delivered += 1
        self.admission.ended()


def steady(seconds: float, jitter: float = 0.2) -> Callable[[int, random.Random], float]:
    """Answers take as long however many there are."""
    return lambda _, rng: seconds * rng.uniform(1 - jitter, 1 + jitter)


def batched(first_s: float, each_s: float) -> Callable[[int, random.Random], float]:
    """Answers take longer the more there are at once, as on a real GPU."""
    return lambda running, rng: (first_s + each_s * running) * rng.uniform(0.7, 1.3)
