"""Counts a server's requests by route and status, and how long they took."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from nemo_gym_lite.rollouts.families import add_histogram
from nemo_gym_lite.routing.call_stats import LATENCY_BOUNDS_S


@dataclass(slots=True)
class _Route:
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))


class RequestStats:
    """Running totals since the server's start. Whoever adds keeps the number of routes small."""

    def __init__(self) -> None:
        self._routes: dict[str, _Route] = {}

    def add(self, route: str, status: int, seconds: float) -> None:
        """Count one request; `status` 0 is one that was broken off before it had an answer."""
        known = self._routes.get(route)
        if known is None:
            known = self._routes[route] = _Route()
        known.statuses[status] = known.statuses.get(status, 0) + 1
        known.seconds += seconds
        known.latencies[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1

    def families(self) -> Iterator[Metric]:
        """The totals as Prometheus metrics."""
        requests = CounterMetricFamily(
            "nemo_gym_server_requests", "Requests by route and status", labels=["route", "status"]
        )
        latencies = HistogramMetricFamily(
            "nemo_gym_server_request_seconds", "Time from request to reply", labels=["route"]
        )
        for route, known in self._routes.items():
            for status, count in known.statuses.items():
                requests.add_metric([route, str(status) if status else "none"], count)
            add_histogram(latencies, [route], known.latencies, known.seconds)
        yield requests
        yield latencies
