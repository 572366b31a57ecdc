"""Looks at a run about once a second, and tells whoever asks: the watchdog, the history, a table, Prometheus."""

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.families import add_histogram, labelled, of_vitals
from nemo_gym_lite.rollouts.history import History
from nemo_gym_lite.rollouts.manifest import now
from nemo_gym_lite.rollouts.progress import Tally, say
from nemo_gym_lite.rollouts.tables import as_text, endpoint_table
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.rollouts.watchdog import Watchdog

LOOK_S = 1.0

_SETTLED_S = 11.0
"""Seconds after the first rollout in which lags are not told: finding what an earlier run left takes time, too."""

_LONG_LAG_S = 2.0


class Watch:
    """Watches one run; `look` is to be called about once a second.

    Args:
        tally: What the collector counts.
        vitals: Gives how those who play are doing.
        watchdog_s: Seconds without a finished rollout after which the oldest are named.
        why: Says why the limit is what it is; empty if there is nothing to say.
        clock: Gives the time, in seconds.
    """

    def __init__(
        self,
        tally: Tally,
        vitals: Callable[[], Vitals],
        watchdog_s: float,
        why: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tally = tally
        self._vitals = vitals
        self._why = why
        self._clock = clock
        self._began_s = clock()
        self._begun = now()
        self._watchdog = Watchdog(watchdog_s, self._began_s)
        self._history = History(LOOK_S)
        self._settled_s: float | None = None
        self._told_lag_s = _LONG_LAG_S / 2

    def look(self) -> None:
        """Note what there is to note, and say what the user should know."""
        now_s, tally, vitals = self._clock(), self._tally, self._vitals()
        if self._history.is_due(now_s - self._began_s):
            self._note(now_s, vitals)
        if warning := self._watchdog.look(now_s, vitals.oldest, tally.delivered + tally.failed, tally.in_flight):
            say(warning)
        if self._settled_s is None and tally.in_flight:
            self._settled_s = now_s + _SETTLED_S
        if self._settled_s is not None and now_s > self._settled_s and vitals.loop_lag_s > 2 * self._told_lag_s:
            self._told_lag_s = vitals.loop_lag_s
            say(
                f"warning: nothing moved for {vitals.loop_lag_s:.1f} s, because code in the collector blocked it; "
                "an environment that computes for long belongs into other processes: `verify_pool`, `placement: far`"
            )

    def close(self) -> None:
        """Note the last state."""
        self._note(self._clock(), self._vitals())

    def history(self) -> Json:
        """The run's speed over time, as `X_run.json` keeps it."""
        return {"begun": self._begun, **self._history.as_json()}

    def table(self) -> str:
        """Endpoints, limit and the oldest rollouts, as lines for a terminal."""
        vitals, tally = self._vitals(), self._tally
        why = f" ({reason})" if (reason := self._why()) else ""
        lines = [
            as_text(endpoint_table(vitals.endpoints))
            if vitals.endpoints
            else "no endpoint is called from here; ng_status shows those of served models",
            f"{tally.ended}/{tally.total} rollouts, {tally.postfix()}",
            f"limit: {tally.limit} in flight{why}; event loop lag: {vitals.loop_lag_s:.2f} s",
            "the oldest rollouts:" if vitals.oldest else "no rollout is in flight",
            *(f"  {episode}" for episode in vitals.oldest),
        ]
        return "\n".join(lines)

    def families(self) -> Iterator[Metric]:
        """The run as Prometheus metrics, under the name of `collector`."""
        yield from labelled(of_vitals(self._vitals()), "collector")
        yield from labelled(_of_tally(self._tally), "collector")

    def _note(self, now_s: float, vitals: Vitals) -> None:
        tally = self._tally
        values = {
            "delivered": tally.delivered,
            "failed": tally.failed,
            "in_flight": tally.in_flight,
            "limit": tally.limit,
            "tokens": tally.tokens,
        }
        in_flight = {each.base_url: each.in_flight for known in vitals.endpoints.values() for each in known}
        self._history.note(now_s - self._began_s, values, in_flight)


def _of_tally(tally: Tally) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "nemo_gym_rollouts", "Rollouts of this run that ended, delivered or by failure class", labels=["outcome"]
    )
    for outcome, count in {"delivered": tally.delivered, **tally.failure_classes}.items():
        ended.add_metric([outcome], count)
    yield ended
    durations = HistogramMetricFamily("nemo_gym_rollout_seconds", "Time that a rollout took, failed ones included")
    add_histogram(durations, [], tally.durations, tally.played_s)
    yield durations
    yield CounterMetricFamily(
        "nemo_gym_rollout_tokens", "Tokens of the answers of this run's rollouts that ended", tally.tokens
    )
    yield GaugeMetricFamily("nemo_gym_rollouts_asked", "Rollouts that the plan holds", tally.total)
    yield GaugeMetricFamily(
        "nemo_gym_rollouts_kept", "Rollouts found finished or given up", tally.kept + tally.given_up
    )
    yield GaugeMetricFamily("nemo_gym_rollouts_in_flight", "Rollouts being played", tally.in_flight)
    yield GaugeMetricFamily("nemo_gym_rollouts_limit", "Rollouts that may be played at once", tally.limit)
    if tally.mean_reward is not None:
        yield GaugeMetricFamily("nemo_gym_reward_mean", "Mean reward of everything in the output", tally.mean_reward)
    if tally.cost_usd is not None:
        yield GaugeMetricFamily("nemo_gym_cost_usd", "Cost of everything in the output", tally.cost_usd)
