"""Small requests before a run's clock starts, so that it begins with engines that are compiled and connected."""

import asyncio
import time
from collections.abc import Sequence
from itertools import cycle, islice
from uuid import uuid4

from nemo_gym_lite.clients import Json, ModelClient
from nemo_gym_lite.errors import GymError
from nemo_gym_lite.routing.call_stats import CallStats
from nemo_gym_lite.routing.router import Router

_REQUEST: Json = {"input": [{"role": "user", "content": "test"}], "max_output_tokens": 16}
"""Fewer tokens than 16 are refused by some hosted services."""

_AT_ONCE = 64
"""Requests at a time for each endpoint."""

_PATIENCE_S = 300.0
"""After so long the run begins all the same."""


async def warm_up(models: Sequence[ModelClient], count: int, asked: Json) -> list[str]:
    """Have every endpoint answer its share of `count` requests; returns lines for the user, and never fails.

    Args:
        models: The models, at least one.
        count: Requests, over all endpoints of all models.
        asked: What every request says beside its text, as the name of the model.
    """
    began_s = time.monotonic()
    places = [model for model in models for _ in range(model.endpoint_count)]
    turns = list(islice(cycle(places), count))
    failures: list[str] = []
    for first in range(0, count, _AT_ONCE * len(places)):  # all of a round are there at once, so they spread evenly
        models_of_round = turns[first : first + _AT_ONCE * len(places)]
        sessions = [(model, uuid4().hex) for model in models_of_round]
        patience_s = began_s + _PATIENCE_S - time.monotonic()
        try:
            failures += filter(None, await asyncio.gather(*(_ask(*each, asked, patience_s) for each in sessions)))
        finally:
            for model, session_id in sessions:
                model.end_session(session_id)
    endpoints = "1 endpoint" if len(places) == 1 else f"{len(places)} endpoints"
    what = f"{count} requests to {endpoints} in {time.monotonic() - began_s:.1f} s"
    told = [f"warning: {len(failures)} of them failed, for instance: {failures[0]}"] if failures else []
    return [f"warm-up: {what}", *told]


async def _ask(model: ModelClient, session_id: str, asked: Json, patience_s: float) -> str | None:
    """Why a request failed, None if it did not."""
    try:
        async with asyncio.timeout(patience_s):
            await model.respond({**asked, **_REQUEST}, session_id)
    except TimeoutError:
        return f"no answer within {_PATIENCE_S:g} s"
    except GymError as error:
        return error.message
    except Exception as error:  # a model may be the user's code, and rollouts will tell what is wrong with it
        return repr(error)
    return None


def forget_calls(router: Router) -> None:
    """Begin the counts of calls and endpoints anew."""
    router.stats = CallStats()
    for state in router.pool.states:
        state.answered = state.failed = 0
        state.mean_latency_s = None
