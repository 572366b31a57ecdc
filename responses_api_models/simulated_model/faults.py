"""Draws the engine's faults with a seed, and names what each looks like on the line."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import orjson

from responses_api_models.simulated_model.refusals import error_body, full_queue
from responses_api_models.simulated_model.settings import Faults

KINDS = (
    "rate_limited",
    "server_error",
    "unavailable",
    "reset",
    "hang",
    "half_body",
    "invalid_json",
    "error_body",
    "slow",
)


class FaultDice:
    """Decides call by call whether it goes wrong, and how."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._seed = seed
        self.load(faults)

    def load(self, faults: Faults) -> None:
        """Take other rates from now on, and begin the draws anew."""
        self.faults = faults
        self._random = Random(self._seed)
        self._rates = [(kind, getattr(faults, kind)) for kind in KINDS if getattr(faults, kind) > 0]
        self._left = faults.at_most

    def draw(self) -> str | None:
        """The kind of fault that this call gets, or None."""
        if not self._rates or self._left == 0:
            return None
        at = self._random.random()
        for kind, rate in self._rates:
            at -= rate
            if at < 0:
                self._left = None if self._left is None else self._left - 1
                return kind
        return None

    def retry_after(self) -> dict[str, str]:
        """The header of a 429, empty where the settings say to send none."""
        seconds = self.faults.retry_after_s
        if seconds is None:
            return {}
        if self.faults.retry_after_form == "date":
            when = datetime.now(UTC) + timedelta(seconds=seconds)
            return {"Retry-After": format_datetime(when, usegmt=True)}
        return {"Retry-After": f"{seconds:g}"}


_DEAD_ENGINE = "EngineCore encountered an issue. See stack trace (above) for the root cause."
FAULT_BODIES: dict[str, bytes] = {
    "rate_limited": orjson.dumps(error_body(429, "Rate limit reached for requests", "rate_limit_error")),
    "server_error": orjson.dumps(error_body(500, _DEAD_ENGINE, "InternalServerError")),
    "unavailable": full_queue().body,
    "error_body": orjson.dumps(error_body(500, _DEAD_ENGINE, "InternalServerError")),
    "invalid_json": b'{"id": "chatcmpl-0", "choices": [{',
}
FAULT_STATUS = {
    "rate_limited": 429,
    "server_error": 500,
    "unavailable": 503,
    "error_body": 200,
    "invalid_json": 200,
}
