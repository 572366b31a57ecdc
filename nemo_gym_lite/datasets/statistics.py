"""What a data file holds, in numbers, from one look at each row: the blocks of `X_metrics.json`."""

import json
import math
from collections.abc import Mapping
from typing import Any

from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.fingerprints import FingerprintSet, fingerprint

_NOT_COUNTED = ("responses_create_params", "response")


class Spread:
    """How many numbers there were, and their mean, least, greatest and deviation, without keeping them."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = 0.0
        self._min, self._max = math.inf, -math.inf

    def add(self, value: float, times: int = 1) -> None:
        """Take a number in, as often as it counts."""
        value = float(value)
        self._count += times
        distance = value - self._mean
        self._mean += distance * times / self._count
        self._squares += times * distance * (value - self._mean)
        self._min, self._max = min(self._min, value), max(self._max, value)

    def as_json(self) -> Json:
        """The numbers, rounded, under the names that NeMo Gym gives them."""
        some = self._count > 0
        deviation = math.sqrt(self._squares / (self._count - 1)) if self._count > 1 else 0.0
        return {
            "Total # non-null values": self._count,
            "Average": _rounded(self._mean),
            "Min": _rounded(self._min) if some else 0.0,
            "Max": _rounded(self._max) if some else 0.0,
            "Standard deviation": _rounded(deviation),
        }


class Texts:
    """How many texts there were, and how many different ones."""

    def __init__(self) -> None:
        self._total = 0
        self._different = FingerprintSet()

    def add(self, text: str, times: int = 1) -> None:
        """Take a text in, as often as it counts."""
        self._total += times
        self._different.add(fingerprint(text.encode(errors="surrogatepass")))

    def as_json(self) -> Json:
        """The two counts."""
        return {"unique_count": len(self._different), "total_count": self._total}


class DataStatistics:
    """The statistics of a data file, or of all of one type.

    Attributes:
        rows: Rows taken in, each as often as it is repeated.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._tools, self._words, self._turns, self._temperature = Spread(), Spread(), Spread(), Spread()
        self._numbers: dict[str, Spread] = {}
        self._texts: dict[str, Texts] = {}
        self._names: dict[str, None] = {}

    def add(self, row: Mapping[str, Any], params: Json, times: int = 1) -> None:
        """Take a row in that is repeated `times` times; of its own fields numbers and texts are counted, also in lists.

        `params` are its `responses_create_params`, validated, without what is not set.
        """
        self.rows += times
        if params.get("tools") is not None:
            self._tools.add(len(params["tools"]), times)
        if turns := _user_turns(params.get("input")):
            self._turns.add(turns, times)
        if params.get("temperature") is not None:
            self._temperature.add(params["temperature"], times)
        self._words.add(len(json.dumps(params).split()), times)
        for name, value in row.items():
            if name not in _NOT_COUNTED:
                for each in value if isinstance(value, list) else (value,):
                    self._count(name, each, times)

    def as_json(self) -> Json:
        """The statistics under the names that NeMo Gym gives them, the rows' own fields last."""
        return {
            "Number of examples": self.rows,
            "Number of tools": self._tools.as_json(),
            "Json-dumped number of words (proxy for token count)": self._words.as_json(),
            "Number of turns": self._turns.as_json(),
            "Temperature": self._temperature.as_json(),
            **{name: self._own(name) for name in self._names},
        }

    def _own(self, name: str) -> Json:
        """One field of the rows; a field that holds numbers here and texts there has the counts of both."""
        numbers, texts = self._numbers.get(name), self._texts.get(name)
        return {**(numbers.as_json() if numbers else {}), **(texts.as_json() if texts else {})}

    def _count(self, name: str, value: Any, times: int) -> None:
        if isinstance(value, int | float):
            self._numbers.setdefault(name, Spread()).add(value, times)
        elif isinstance(value, str):
            self._texts.setdefault(name, Texts()).add(value, times)
        else:
            return
        self._names[name] = None


def _user_turns(given: Any) -> int:
    if isinstance(given, str):
        return 1
    return sum(isinstance(item, Mapping) and item.get("role") == "user" for item in given or ())


def _rounded(value: float) -> float:
    return round(value, 2 if abs(value) >= 1 else 3)
