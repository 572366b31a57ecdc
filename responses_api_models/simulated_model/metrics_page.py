"""The engine's `/metrics` page, with vLLM's names, built only when somebody reads it."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from responses_api_models.simulated_model.scheduler import Scheduler
from responses_api_models.simulated_model.settings import EngineSettings
from responses_api_models.simulated_model.stats import EngineStats

FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")


class _Page:
    """What `generate_latest` asks for metrics."""

    def __init__(self, stats: EngineStats, scheduler: Scheduler, settings: EngineSettings) -> None:
        self._stats = stats
        self._scheduler = scheduler
        self._model = (settings.models or ("simulated",))[0]

    def collect(self) -> Iterator[Metric]:
        stats, running, waiting = self._stats, self._scheduler.running, self._scheduler.waiting
        yield self._gauge("num_requests_running", "Requests in model execution batches.", running)
        yield self._gauge("num_requests_waiting", "Requests waiting to be processed.", waiting)
        used = self._scheduler.cache_use()
        yield self._gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", used)
        yield self._counter("num_preemptions", "Preemptions.", self._scheduler.preemptions)
        yield self._counter("prompt_tokens", "Prefill tokens.", stats.prompt_tokens)
        yield self._counter("generation_tokens", "Generated tokens.", stats.generation_tokens)
        yield self._counter("prefix_cache_queries", "Tokens looked up.", stats.prompt_tokens)
        yield self._counter("prefix_cache_hits", "Tokens found.", stats.cached_tokens)
        success = CounterMetricFamily(
            "vllm:request_success",
            "Requests answered, by finish reason.",
            labels=("engine", "finished_reason", "model_name"),
        )
        for reason in FINISH_REASONS:
            success.add_metric(("0", reason, self._model), stats.finished[reason])
        yield success
        rejections = CounterMetricFamily(
            "vllm:admission_rejections", "Requests refused.", labels=("model_name", "reason")
        )
        rejections.add_metric((self._model, "max_num_queued_reqs"), stats.rejected)
        yield rejections

    def _gauge(self, name: str, what: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"vllm:{name}", what, labels=("engine", "model_name"))
        family.add_metric(("0", self._model), value)
        return family

    def _counter(self, name: str, what: str, value: float) -> CounterMetricFamily:
        family = CounterMetricFamily(f"vllm:{name}", what, labels=("engine", "model_name"))
        family.add_metric(("0", self._model), value)
        return family


def metrics_page(stats: EngineStats, scheduler: Scheduler, settings: EngineSettings) -> bytes:
    """The page in Prometheus' text format."""
    return generate_latest(_Page(stats, scheduler, settings))
