"""Plays environments that play in steps: reset, then the model's turn and the environment's step, one after another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from fastapi import Request, Response
from pydantic import ConfigDict, Field

from nemo_gym_lite.agents.playing_agent import (
    EpisodeLoop,
    PlayingAgent,
    PlayingAgentConfig,
    add_usage,
    items_of,
    near_config,
)
from nemo_gym_lite.base_resources_server import BaseRunRequest, BaseVerifyResponse
from nemo_gym_lite.clients import AgentClient, Json, ModelClient, ResourcesClient, ResourcesSession
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.episode import at_stage, at_turn
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.openai_utils import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming
from nemo_gym_lite.server_utils import get_response_json, raise_for_status
from nemo_gym_lite.serving.far_model import FarModel
from nemo_gym_lite.serving.far_resources import FarResources

_CLOSE_S = 5.0
"""Seconds that closing an episode may take, within which also a cancelled one ends."""

_log = logging.getLogger(__name__)


class GymnasiumAgentConfig(PlayingAgentConfig):
    """Config of the agent.

    Attributes:
        max_steps: Most turns of an episode; one that is not over by then is truncated.
    """

    max_steps: int = Field(default=10, ge=1)


class GymnasiumAgentRunRequest(BaseRunRequest):
    """A row to play, with all its fields."""

    model_config = ConfigDict(extra="allow")


class GymnasiumRunResponse(BaseVerifyResponse):
    """A played row: `reward` is the sum over its steps, `info` that of the last step."""

    model_config = ConfigDict(extra="allow")

    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = Field(default_factory=dict)


class GymnasiumLoop(EpisodeLoop):
    """Plays episodes; of the config it reads `max_steps`."""

    async def _play(self, row: Json, session: ResourcesSession, session_id: str, so_far: Json) -> Json:
        at_stage("reset")
        begun = await session.ask("/reset", row, "seed_failed")
        asks_for_close = (begun.get("info") or {}).get("supports_explicit_close") is True
        is_over, problem = False, None
        try:
            played = await self._steps(row, begun, session, session_id, so_far)
            is_over = played.pop("is_over")
        finally:
            if asks_for_close or not is_over:  # what is over, the environment closes by itself
                problem = await _close(session, asked=asks_for_close)
        if problem is not None:
            warning = {"operation": "close", "error_type": type(problem).__name__, "message": str(problem)}
            played["info"] = {**played["info"], "cleanup_warning": warning}
        return played

    async def _steps(self, row: Json, begun: Json, session: ResourcesSession, session_id: str, so_far: Json) -> Json:
        """Play all turns; the fields for the row, and `is_over`, whether the environment ended the episode."""
        prompt = _with_observation(items_of(row["responses_create_params"]["input"]), begun)
        conversation = [*prompt]
        params = {**row["responses_create_params"], "input": conversation}
        usage: Json | None = None
        reward, is_over, steps = 0.0, False, 0
        while not is_over and steps < self._config.max_steps:
            at_turn()
            response = await self._model.respond(params, session_id)
            conversation += response["output"]
            usage = add_usage(usage, response.get("usage"))
            so_far.update({"usage": usage} if usage else {})
            step = await _step(session, {**row, "response": response}, begun)
            reward += step["reward"]
            steps += 1
            is_over = bool(step.get("terminated") or step.get("truncated"))
            if not is_over:
                conversation += _tool_outputs(step)
                _with_observation(conversation, step)
        longer = {"responses_create_params": {**params, "input": prompt}} if begun.get("observation") else {}
        return {
            **longer,
            "response": {**response, "output": conversation[len(prompt) :], "usage": usage},
            "reward": reward,
            "terminated": bool(step.get("terminated")),
            "truncated": bool(step.get("truncated")) or not is_over,
            "info": step.get("info") or {},
            "is_over": is_over,
        }


class GymnasiumAgent(PlayingAgent):
    """The loop as a server, over a served model and a served environment."""

    config: GymnasiumAgentConfig

    @classmethod
    def near_client(
        cls, instance: Any, model: ModelClient, resources: ResourcesClient, deadlines: Deadlines
    ) -> AgentClient | None:
        """The loop in the caller's process."""
        return GymnasiumLoop(model, resources, near_config(cls, instance), deadlines)

    async def run(  # type: ignore[override]
        self, request: Request, body: GymnasiumAgentRunRequest
    ) -> GymnasiumRunResponse:
        """Play one episode: a row in, the row with `response`, `reward` and how it ended out."""
        row = body.model_dump(mode="json", exclude_unset=True)
        played = await self._far_clients()[0].run(row)
        return GymnasiumRunResponse.model_validate({**row, **played})

    async def responses(  # type: ignore[override]
        self, request: Request, response: Response, body: NeMoGymResponseCreateParamsNonStreaming
    ) -> NeMoGymResponse:
        """Let the model answer once; there is no environment without a row."""
        asked = await self.server_client.post(
            self.config.model_server.name, "/v1/responses", json=body, cookies=request.cookies
        )
        await raise_for_status(asked)
        for name, morsel in asked.cookies.items():
            response.set_cookie(name, morsel.value)
        return NeMoGymResponse.model_validate(await get_response_json(asked))

    def _short_cuts(self) -> dict[str, tuple[Callable[..., Any], Callable[[Request], Awaitable[Response]]]]:
        return {"/run": (GymnasiumAgent.run, self._serve_run)}

    def _loop(self, model: FarModel, resources: FarResources) -> EpisodeLoop:
        return GymnasiumLoop(model, resources, self.config, self.config.deadlines)


async def _step(session: ResourcesSession, body: Json, begun: Json) -> Json:
    """One step of the environment.

    Raises:
        FailedCallError: It failed, or gave no reward, which is no reward of 0.
    """
    at_stage("step")
    if (begun.get("info") or {}).get("supports_step_idempotency") is True:
        body["_ng_step_request_id"] = uuid4().hex
    step = await session.ask("/step", body, "step_failed")
    if not isinstance(step.get("reward"), int | float):
        raise FailedCallError("step_failed", f"/step gave no reward: {step!r:.500}")
    return step


async def _close(session: ResourcesSession, *, asked: bool) -> Exception | None:
    """Close an episode; what went wrong, if the environment asked for it."""
    at_stage("close")
    try:
        async with asyncio.timeout(_CLOSE_S):
            await session.ask("/close", {}, "step_failed")
    except (FailedCallError, TimeoutError) as error:
        if asked:  # others may have nothing to close
            _log.warning("an environment that asked to be closed could not be: %s", error)
            return error
    return None


def _with_observation(items: list[Json], seen: Json) -> list[Json]:
    """`items`, to which what the environment shows was added."""
    if observation := seen.get("observation"):
        items.append({"role": "user", "content": observation, "type": "message"})
    return items


def _tool_outputs(step: Json) -> list[Json]:
    outputs = (step.get("info") or {}).get("tool_outputs") or []
    return [{"type": "function_call_output", "call_id": one["call_id"], "output": one["output"]} for one in outputs]


if __name__ == "__main__":
    GymnasiumAgent.run_webserver()
