"""Vitals as Prometheus metrics, made when somebody asks: nothing is counted twice, and nothing while nobody looks.

Every name begins with `nemo_gym_`. Labels name servers, models, endpoints, routes and failure classes, never rollouts,
so that a run of a million rows makes no more series than one of ten.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.routing.call_stats import LATENCY_BOUNDS_S, CallStats
from nemo_gym_lite.routing.snapshot import EndpointCondition, EndpointSnapshot

_BOUNDS = [*map(str, LATENCY_BOUNDS_S), "+Inf"]


def of_vitals(vitals: Vitals) -> Iterator[Metric]:
    """The metrics of one process or of a whole run."""
    lag = GaugeMetricFamily(
        "nemo_gym_event_loop_lag_seconds", "Longest time that the event loop was not free, of the last ten seconds"
    )
    lag.add_metric([], vitals.loop_lag_s)
    yield lag
    if vitals.endpoints:
        yield from _of_calls(vitals.calls)
        yield from _of_endpoints([(model, each) for model, known in vitals.endpoints.items() for each in known])


def add_histogram(family: HistogramMetricFamily, labels: Sequence[str], counts: Sequence[int], sum_s: float) -> None:
    """Add counts by `LATENCY_BOUNDS_S`, each of its own bucket alone, to a family, whose buckets add up."""
    buckets, total = [], 0
    for bound, count in zip(_BOUNDS, counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    family.add_metric(labels, buckets=buckets, sum_value=sum_s)


def labelled(families: Iterable[Metric], server: str) -> Iterator[Metric]:
    """The same metrics, each with the label `server` before its others."""
    for family in families:
        copy = Metric(family.name, family.documentation, family.type)
        copy.samples = [each._replace(labels={"server": server, **each.labels}) for each in family.samples]
        yield copy


def page(families: Iterable[Metric]) -> bytes:
    """The text that Prometheus reads; families of one name become one."""
    by_name: dict[str, Metric] = {}
    for family in families:
        known = by_name.setdefault(family.name, family)
        if known is not family:
            known.samples += family.samples
    return generate_latest(_Given(list(by_name.values())))


class _Given(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _of_calls(calls: CallStats) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "nemo_gym_model_requests", "Requests to model endpoints by how they ended", labels=["outcome"]
    )
    for outcome, count in {"answered": calls.answered, **calls.failed}.items():
        requests.add_metric([outcome], count)
    yield requests
    yield CounterMetricFamily(
        "nemo_gym_model_requests_rate_limited", "Requests whose endpoint asked for patience", calls.rate_limited
    )
    tokens = CounterMetricFamily("nemo_gym_model_tokens", "Tokens as the endpoints counted them", labels=["kind"])
    tokens.add_metric(["input"], calls.input_tokens)
    tokens.add_metric(["output"], calls.output_tokens)
    yield tokens
    latencies = HistogramMetricFamily("nemo_gym_model_request_seconds", "Latency of answered requests")
    add_histogram(latencies, [], calls.latencies, calls.latency_s)
    yield latencies


def _of_endpoints(endpoints: Sequence[tuple[str, EndpointSnapshot]]) -> Iterator[Metric]:
    names = ["model", "endpoint"]
    state = GaugeMetricFamily("nemo_gym_endpoint_state", "1 for the state of now", labels=[*names, "state"])
    in_flight = GaugeMetricFamily("nemo_gym_endpoint_in_flight", "Requests not answered yet", labels=names)
    sessions = GaugeMetricFamily("nemo_gym_endpoint_sessions", "Episodes that live there", labels=names)
    answered = CounterMetricFamily("nemo_gym_endpoint_answered", "Requests answered", labels=names)
    failed = CounterMetricFamily("nemo_gym_endpoint_failed", "Requests failed", labels=names)
    for model, each in endpoints:
        labels = [model, each.base_url]
        for condition in get_args(EndpointCondition):
            state.add_metric([*labels, condition], float(each.state == condition))
        in_flight.add_metric(labels, each.in_flight)
        sessions.add_metric(labels, each.sessions)
        answered.add_metric(labels, each.answered)
        failed.add_metric(labels, each.failed)
    yield from (state, in_flight, sessions, answered, failed)
