"""What a run's speed was over time, in a few hundred points however long it lasts, for plots and for later."""

from collections.abc import Mapping
from typing import Any

from nemo_gym_lite.clients import Json

MOST_POINTS = 600
_POINTS_OF_THE_PAST = 150
_RUNS_KEPT = 20


class History:
    """Points in time, evenly spaced. When there are too many, every second one goes and the interval doubles.

    Args:
        interval_s: Seconds between two points, at first.
    """

    def __init__(self, interval_s: float = 1.0) -> None:
        self._interval_s = interval_s
        self._points: list[tuple[float, Mapping[str, Any], Mapping[str, int]]] = []

    def is_due(self, t_s: float) -> bool:
        """Whether `t_s` seconds after the start are a point that is wanted."""
        return not self._points or t_s // self._interval_s > self._points[-1][0] // self._interval_s

    def note(self, t_s: float, values: Mapping[str, Any], endpoints: Mapping[str, int]) -> None:
        """Remember a point, `t_s` after the start: counts of the same names each time, and requests in flight by base
        URL, which may come and go."""
        if len(self._points) >= MOST_POINTS:
            self._points = self._points[::2]
            self._interval_s *= 2
        self._points.append((round(t_s, 1), dict(values), dict(endpoints)))

    def as_json(self) -> Json:
        """Columns of equal length: `t_s`, one for each value, and `endpoints` with one for each base URL."""
        names = self._points[-1][1] if self._points else {}
        urls = dict.fromkeys(url for _, _, endpoints in self._points for url in endpoints)
        return {
            "t_s": [t_s for t_s, _, _ in self._points],
            **{name: [values.get(name) for _, values, _ in self._points] for name in names},
            "endpoints": {url: [endpoints.get(url) for _, _, endpoints in self._points] for url in urls},
        }


def thinned(run: Json, most: int = _POINTS_OF_THE_PAST) -> Json:
    """The history of an earlier run with at most `most` points of it left, the last one included."""
    step = -(-len(run.get("t_s", ())) // most)
    if step <= 1:
        return run
    return {name: _thin(column, step) for name, column in run.items()}


def with_run(earlier: list[Json], run: Json) -> list[Json]:
    """The histories of an output's runs with one more at the end; the oldest of very many are let go."""
    return [*map(thinned, earlier), run][-_RUNS_KEPT:]


def _thin(column: Any, step: int) -> Any:
    if isinstance(column, dict):
        return {name: _thin(each, step) for name, each in column.items()}
    return column[::-1][::step][::-1] if isinstance(column, list) else column
