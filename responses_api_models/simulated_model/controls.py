"""The routes below `/simulator`: what the engine has seen, and how it behaves from now on."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from responses_api_models.simulated_model.faults import FaultDice
from responses_api_models.simulated_model.rate_limits import RateGate
from responses_api_models.simulated_model.refusals import error_body
from responses_api_models.simulated_model.scheduler import Scheduler
from responses_api_models.simulated_model.settings import Faults, Limits
from responses_api_models.simulated_model.stats import EngineStats
from responses_api_models.simulated_model.wire import json_reply

Route = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Slots(BaseModel):
    """The body of `POST /simulator/slots`."""

    model_config = ConfigDict(extra="forbid")

    slots: PositiveInt | None
    """Answers generated at once; null has no limit."""


class Controls:
    """Reads and changes one engine over HTTP."""

    def __init__(self, stats: EngineStats, faults: FaultDice, limits: RateGate, scheduler: Scheduler) -> None:
        self._stats, self._faults, self._limits, self._scheduler = stats, faults, limits, scheduler

    def routes(self) -> dict[tuple[str, str], Route]:
        """What each method and path does."""
        return {
            ("GET", "/simulator/stats"): self._show,
            ("GET", "/simulator/arrivals"): self._arrivals,
            ("GET", "/simulator/history"): self._history,
            ("POST", "/simulator/faults"): self._set_faults,
            ("POST", "/simulator/limits"): self._set_limits,
            ("POST", "/simulator/slots"): self._set_slots,
            ("POST", "/simulator/reset"): self._clear,
        }

    async def _show(self, request: web.BaseRequest) -> web.Response:
        asked = request.query
        counts = self._stats.as_json(sessions="sessions" in asked, prompts="prompts" in asked)
        scheduler = self._scheduler
        load = {name: getattr(scheduler, name) for name in ("slots", "running", "waiting", "preemptions")}
        return json_reply({**counts, **load, "kv_cache_use": scheduler.cache_use(), "refused": self._limits.refused})

    async def _arrivals(self, request: web.BaseRequest) -> web.Response:
        try:
            window_s = float(request.query.get("window_s", "60"))
        except ValueError as error:
            return _invalid(error)
        return json_reply(self._stats.arrivals.as_json(window_s, rows="rows" in request.query))

    async def _history(self, _: web.BaseRequest) -> web.Response:
        return json_reply(self._stats.history.as_json())

    async def _set_faults(self, request: web.BaseRequest) -> web.Response:
        try:
            faults = Faults.model_validate_json(await request.content.read() or b"{}")
        except ValidationError as error:
            return _invalid(error)
        self._faults.load(faults)
        return json_reply(faults.model_dump())

    async def _set_limits(self, request: web.BaseRequest) -> web.Response:
        try:
            limits = Limits.model_validate_json(await request.content.read() or b"{}")
        except ValidationError as error:
            return _invalid(error)
        self._limits.load(limits)
        return json_reply(limits.model_dump())

    async def _set_slots(self, request: web.BaseRequest) -> web.Response:
        try:
            slots = Slots.model_validate_json(await request.content.read() or b"{}")
        except ValidationError as error:
            return _invalid(error)
        self._scheduler.resize(slots.slots)
        return json_reply(slots.model_dump())

    async def _clear(self, _: web.BaseRequest) -> web.Response:
        self._stats.clear()
        return json_reply(self._stats.as_json())


def _invalid(error: ValueError) -> web.Response:
    return json_reply(error_body(400, str(error), "BadRequestError"), 400)
