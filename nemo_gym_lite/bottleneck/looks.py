"""Adds up what is seen at each look at a run, weighted by the time since the last one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nemo_gym_lite.bottleneck.loop_time import NO_TIME, LoopTime
from nemo_gym_lite.bottleneck.observations import EndpointSeen, EngineSeen, Observations, is_queue
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.routing.admission import EngineReading


@dataclass(slots=True)
class _Endpoint:
    in_flight: float = 0.0  # times seconds
    down_s: float = 0.0
    answered: int = 0
    last_error: str = ""


@dataclass(slots=True)
class _Engine:
    readings: int = 0
    running: int = 0
    waiting: int = 0
    queued: int = 0
    cache_use: float = 0.0
    preempted: int = 0
    preemptions: int | None = None

    def take(self, reading: EngineReading) -> None:
        self.readings += 1
        self.running += reading.running
        self.waiting += reading.waiting
        self.queued += is_queue(reading.running, reading.waiting)
        self.cache_use += reading.cache_use
        if self.preemptions is not None:
            self.preempted += max(0, reading.preemptions - self.preemptions)  # one that was restarted counts anew
        self.preemptions = reading.preemptions

    def seen(self) -> EngineSeen:
        count = self.readings
        mean = (self.running / count, self.waiting / count, self.queued / count, self.cache_use / count)
        return EngineSeen(*mean, self.preempted)


@dataclass(slots=True)
class Looks:
    """All looks at one run.

    Attributes:
        seconds: Time that they cover.
    """

    seconds: float = 0.0
    _waits: dict[str, float] = field(default_factory=dict)  # times seconds, as the next four
    _in_flight: float = 0.0
    _limit: float = 0.0
    _filled: float = 0.0
    _open_s: float = 0.0
    _last_limit: int = 0
    _held_s: float = 0.0
    _loop: LoopTime = NO_TIME
    _vitals: Vitals = field(default_factory=Vitals)
    _endpoints: dict[tuple[str, str], _Endpoint] = field(default_factory=dict)
    _engines: dict[str, _Engine] = field(default_factory=dict)

    def note(self, passed_s: float, vitals: Vitals, in_flight: int, limit: int, *, begins: bool) -> None:
        """Take a look in.

        Args:
            passed_s: Seconds since the last one.
            vitals: How those who play are doing.
            in_flight: Rollouts in flight.
            limit: How many may be.
            begins: Whether a rollout that ends makes room for another one.
        """
        self.seconds += passed_s
        for stage, count in vitals.stages.items():
            self._waits[stage] = self._waits.get(stage, 0.0) + count * passed_s
        self._in_flight += in_flight * passed_s
        if begins:
            self._open_s += passed_s
            self._limit += limit * passed_s
            self._filled += min(1.0, in_flight / max(1, limit)) * passed_s
        self._last_limit = limit
        passed = vitals.loop.since(self._vitals.loop)
        self._loop = self._loop.plus(LoopTime(*(max(0.0, each) for each in passed)))  # one that died counts anew
        self._held_s = max(self._held_s, vitals.loop_lag_s)
        self._vitals = vitals
        for model, known in vitals.endpoints.items():
            for each in known:
                endpoint = self._endpoints.setdefault((model, each.base_url), _Endpoint())
                endpoint.in_flight += each.in_flight * passed_s
                endpoint.down_s += (each.state in ("down", "probing")) * passed_s
                endpoint.answered, endpoint.last_error = each.answered, each.last_error

    def hear(self, readings: Mapping[str, EngineReading | None]) -> None:
        """Take in what engines say of themselves."""
        for url, reading in readings.items():
            if reading is not None:
                self._engines.setdefault(url, _Engine()).take(reading)

    def observations(self, *, auto: bool, workers: int, collector: LoopTime, own_engine: bool) -> Observations:
        """What was seen, on average.

        Args:
            auto: Whether the limit was found and not given.
            workers: Processes that played.
            collector: What the collector's event loop had to do.
            own_engine: Whether an engine is in the collector's process.
        """
        seconds, open_s, calls = max(self.seconds, 1e-9), max(self._open_s, 1e-9), self._vitals.calls
        return Observations(
            looked_s=self.seconds,
            in_flight=self._in_flight / seconds,
            waits={stage: waited / seconds for stage, waited in self._waits.items()},
            limit=self._last_limit,
            mean_limit=self._limit / open_s,
            filled=self._filled / open_s,
            begun=1.0 - self._open_s / seconds,
            auto=auto,
            answered=calls.answered,
            refused=calls.rate_limited,
            endpoints=tuple(self._seen(*names, seconds) for names in self._endpoints),
            workers=workers,
            players=LoopTime(*(each / seconds / workers for each in self._loop)),
            collector=LoopTime(*(each / seconds for each in collector)),
            held_s=self._held_s,
            own_engine=own_engine,
        )

    def _seen(self, model: str, url: str, seconds: float) -> EndpointSeen:
        endpoint, engine = self._endpoints[model, url], self._engines.get(url)
        seen = EndpointSeen(
            model,
            url,
            endpoint.in_flight / seconds,
            endpoint.answered,
            down=endpoint.down_s / seconds,
            last_error=endpoint.last_error,
            engine=engine.seen() if engine else None,
        )
        return replace(seen, answer_s=endpoint.in_flight / seen.answered) if seen.answered else seen
