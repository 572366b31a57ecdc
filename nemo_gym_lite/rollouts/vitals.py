"""How a run is doing at one moment: plain data that a worker sends, the collector adds up and the displays read."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Self

from nemo_gym_lite.bottleneck.loop_time import NO_TIME, LoopTime
from nemo_gym_lite.clients import Json
from nemo_gym_lite.episode import MODEL, Episode
from nemo_gym_lite.routing.call_stats import CallStats
from nemo_gym_lite.routing.snapshot import EndpointSnapshot

OLDEST = 5
"""Episodes named in one look: who hangs is among the oldest, and a terminal has few lines."""

_TROUBLE = ("up", "leaving", "paused", "probing", "down")
"""States from good to bad; an endpoint is as bad as the worker that has most trouble with it says."""


@dataclass(frozen=True, slots=True)
class EpisodeSnapshot:
    """One rollout being played, at one moment.

    Attributes:
        label: What a person calls it, as `task 17, rollout 2`.
        age_s: Seconds since it began.
        turns: Model calls begun so far.
        stage: What it waits for.
        endpoint: Base URL of its model call; None while it waits for an endpoint that takes it.
    """

    label: str
    age_s: float
    turns: int
    stage: str
    endpoint: str | None

    @classmethod
    def of(cls, episode: Episode, now_s: float) -> Self:
        """The episode as it is at `now_s`, in seconds of the clock that it began on."""
        return cls(episode.label, now_s - episode.began_s, episode.turns, episode.stage, episode.endpoint)

    def __str__(self) -> str:
        """As in `task 17, rollout 2: turn 3, model at http://127.0.0.1:8000/v1, for 81 s`."""
        where = f" at {self.endpoint or 'no endpoint yet'}" if self.stage == MODEL else ""
        turn = f"turn {self.turns}, " if self.turns else ""
        return f"{self.label}: {turn}{self.stage}{where}, for {self.age_s:.0f} s"


@dataclass(slots=True)
class Vitals:
    """How one process, or all of a run together, is doing.

    Attributes:
        endpoints: By name of the model, its endpoints.
        calls: Model calls since the run began.
        oldest: The episodes that have been playing for longest, oldest first.
        loop_lag_s: Longest time, in seconds, that the event loop of a process was lately not free.
        stages: How many episodes wait for what.
        loop: What the event loops had to do since they began to play, all added up.
    """

    endpoints: dict[str, list[EndpointSnapshot]] = field(default_factory=dict)
    calls: CallStats = field(default_factory=CallStats)
    oldest: list[EpisodeSnapshot] = field(default_factory=list)
    loop_lag_s: float = 0.0
    stages: Counter[str] = field(default_factory=Counter)
    loop: LoopTime = NO_TIME

    def base_urls(self) -> list[str]:
        """The endpoints, each once, however many models are there."""
        return sorted({each.base_url for known in self.endpoints.values() for each in known})

    def as_json(self) -> Json:
        """As it goes from a worker to the collector."""
        return {**asdict(self), "stages": self.stages, "loop": list(self.loop)}  # of these `asdict` makes no JSON

    @classmethod
    def of_json(cls, data: Json) -> Self:
        """What `as_json` gave."""
        return cls(
            {model: [EndpointSnapshot(**each) for each in known] for model, known in data["endpoints"].items()},
            CallStats(**data["calls"]),
            [EpisodeSnapshot(**each) for each in data["oldest"]],
            data["loop_lag_s"],
            Counter(data["stages"]),
            LoopTime(*data["loop"]),
        )


def merged(parts: Iterable[Vitals]) -> Vitals:
    """Several processes as one: counts add up, the worst state and the longest lag are told."""
    whole = Vitals()
    by_url: dict[str, dict[str, EndpointSnapshot]] = {}
    for part in parts:
        for model, known in part.endpoints.items():
            urls = by_url.setdefault(model, {})
            for each in known:
                urls[each.base_url] = _together(urls[each.base_url], each) if each.base_url in urls else each
        whole.calls.merge(part.calls)
        whole.oldest += part.oldest
        whole.loop_lag_s = max(whole.loop_lag_s, part.loop_lag_s)
        whole.stages += part.stages
        whole.loop = whole.loop.plus(part.loop)
    whole.endpoints = {model: list(urls.values()) for model, urls in by_url.items()}
    whole.oldest = sorted(whole.oldest, key=lambda episode: -episode.age_s)[:OLDEST]
    return whole


def _together(one: EndpointSnapshot, other: EndpointSnapshot) -> EndpointSnapshot:
    return EndpointSnapshot(
        base_url=one.base_url,
        state=max(one.state, other.state, key=_TROUBLE.index),
        in_flight=one.in_flight + other.in_flight,
        sessions=one.sessions + other.sessions,
        answered=one.answered + other.answered,
        failed=one.failed + other.failed,
        mean_latency_s=_mean_latency_s(one, other),
        last_error=one.last_error or other.last_error,
    )


def _mean_latency_s(one: EndpointSnapshot, other: EndpointSnapshot) -> float | None:
    known = [(each.mean_latency_s, each.answered) for each in (one, other) if each.mean_latency_s is not None]
    answered = sum(count for _, count in known)
    return sum(latency_s * count for latency_s, count in known) / answered if answered else None
