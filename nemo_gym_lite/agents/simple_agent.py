"""The tool loop: ask the model, call its tools one after another, until it answers; then verify."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import orjson
from fastapi import Request, Response
from pydantic import Field
from yarl import URL

from nemo_gym_lite.agents.playing_agent import (
    EpisodeLoop,
    PlayingAgent,
    PlayingAgentConfig,
    add_usage,
    items_of,
    near_config,
)
from nemo_gym_lite.base_resources_server import BaseRunRequest, BaseVerifyRequest, BaseVerifyResponse
from nemo_gym_lite.clients import AgentClient, Json, ModelClient, ResourcesClient, ResourcesSession
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.episode import at_stage, at_turn
from nemo_gym_lite.openai_utils import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming
from nemo_gym_lite.server_utils import get_global_aiohttp_client
from nemo_gym_lite.serving.calls import json_object, require
from nemo_gym_lite.serving.client import JSON_HEADERS, post
from nemo_gym_lite.serving.failures import object_of
from nemo_gym_lite.serving.far_model import FarModel
from nemo_gym_lite.serving.far_resources import FarResources, FarSession

_NO_TOOLS = frozenset({"verify", "seed_session", "aggregate_metrics"})
"""Routes that only the agent calls: a model that could seed its session again would choose its own task."""

_IDLE_TURNS = 3
"""Turns in a row with neither a message nor a call, after which the episode ends."""


class SimpleAgentConfig(PlayingAgentConfig):
    """Config of the agent.

    Attributes:
        max_steps: Most turns of an episode; None for as many as the model's context holds.
    """

    max_steps: int | None = Field(default=None, ge=1)


class SimpleAgentRunRequest(BaseRunRequest, extra="allow"):
    """A row to play, with all its fields."""


class SimpleAgentVerifyRequest(BaseVerifyRequest, extra="allow"):
    """A played row, with all its fields."""


class SimpleAgentVerifyResponse(BaseVerifyResponse, extra="allow"):
    """A scored row, with all its fields."""


class SimpleAgentLoop(EpisodeLoop):
    """Plays episodes; of the config it reads `max_steps`, `skip_verification` and its reward."""

    async def _play(self, row: Json, session: ResourcesSession, session_id: str, so_far: Json) -> Json:
        at_stage("seed")
        await session.seed(row)
        response = await self.play(row["responses_create_params"], session, session_id, so_far)
        so_far["response"] = response
        return {"response": response, **await self._verdict(row, response, session)}

    async def _verdict(self, row: Json, response: Json, session: ResourcesSession) -> Json:
        if self._config.skip_verification:
            return {"reward": self._config.skip_verification_reward, "verification_skipped": True}
        at_stage("verify")
        return await session.verify({**row, "response": response})

    async def play(self, params: Json, session: ResourcesSession, session_id: str, so_far: Json | None = None) -> Json:
        """Play all turns; the last response, with the output of all turns and their summed usage.

        `so_far` gets the `usage` after every turn, so that a failed episode's tokens are counted too.
        """
        so_far = {} if so_far is None else so_far
        conversation = items_of(params["input"])
        prompt_length = len(conversation)
        params = {**params, "input": conversation}
        usage: Json | None = None
        steps = idle_turns = 0
        while True:
            at_turn()
            response = await self._model.respond(params, session_id)
            output = response["output"]
            conversation += output
            usage = add_usage(usage, response.get("usage"))
            so_far.update({"usage": usage} if usage else {})
            steps += 1
            calls = [item for item in output if item["type"] == "function_call"]
            if response.get("incomplete_details") or (not calls and _speaks(output)):
                break
            for call in calls:
                conversation.append(await _call(session, call))
            idle_turns = 0 if calls else idle_turns + 1
            if steps == self._config.max_steps or idle_turns == _IDLE_TURNS:
                break
        return {**response, "output": conversation[prompt_length:], "usage": usage}


class SimpleAgent(PlayingAgent):
    """The loop as a server, over a served model and a served environment.

    A subclass that defines `responses` plays its own turns between seeding and check, one that defines `run` its own
    episodes; either of them is played in its server.
    """

    config: SimpleAgentConfig

    @classmethod
    def near_client(
        cls, instance: Any, model: ModelClient, resources: ResourcesClient, deadlines: Deadlines
    ) -> AgentClient | None:
        """The loop in the caller's process."""
        return SimpleAgentLoop(model, resources, near_config(cls, instance), deadlines)

    async def run(  # type: ignore[override]
        self, request: Request, body: SimpleAgentRunRequest
    ) -> SimpleAgentVerifyResponse:
        """Play one episode: a row in, the row with `response`, `reward` and the environment's fields out."""
        row = body.model_dump(mode="json", exclude_unset=True)
        played = await self._far_clients()[0].run(row)
        return SimpleAgentVerifyResponse.model_validate({**row, **played})

    async def responses(  # type: ignore[override]
        self, request: Request, response: Response, body: NeMoGymResponseCreateParamsNonStreaming
    ) -> NeMoGymResponse:
        """Play all turns of a conversation in the environment's session that the cookies name."""
        played, session = await self._play_turns(body.model_dump(mode="json", exclude_unset=True), request)
        _set_cookies(response, session)
        return NeMoGymResponse.model_validate(played)

    def _short_cuts(self) -> dict[str, tuple[Callable[..., Any], Callable[[Request], Awaitable[Response]]]]:
        return {
            "/run": (SimpleAgent.run, self._serve_run),
            "/v1/responses": (SimpleAgent.responses, self._serve_responses),
        }

    async def _serve_responses(self, request: Request) -> Response:
        params = json_object(await request.body())
        require(params, "input")
        played, session = await self._play_turns(params, request)
        reply = Response(orjson.dumps(played), media_type="application/json")
        _set_cookies(reply, session)
        return reply

    async def _play_turns(self, params: Json, request: Request) -> tuple[Json, FarSession]:
        _, resources = self._far_clients()
        deadlines = self.config.deadlines
        model = FarModel(self._url_of(self.config.model_server.name), get_global_aiohttp_client(), deadlines)
        session = resources.open("", request.cookies)
        loop = SimpleAgentLoop(model, resources, self.config, deadlines)
        return await loop.play(params, session, uuid4().hex), session

    def _loop(self, model: FarModel, resources: FarResources) -> EpisodeLoop:
        if type(self).responses is not SimpleAgent.responses:
            return _OwnTurns(model, resources, self.config, self._url_of(self.config.name))
        return SimpleAgentLoop(model, resources, self.config, self.config.deadlines)


class _OwnTurns(SimpleAgentLoop):
    """Episodes whose turns the agent's own `POST /v1/responses` plays, because a subclass defines it."""

    def __init__(self, model: FarModel, resources: FarResources, config: SimpleAgentConfig, own_url: str) -> None:
        super().__init__(model, resources, config, config.deadlines)
        self._url = URL(f"{own_url}/v1/responses", encoded=True)

    async def play(self, params: Json, session: Any, session_id: str, so_far: Json | None = None) -> Json:
        """Let the route play all turns in the environment's session."""
        at_turn()
        crumbs, deadlines = session.cookies.header(), self._config.deadlines
        headers = {**JSON_HEADERS, **({"Cookie": crumbs} if crumbs else {})}
        timeouts = {"timeout_s": deadlines.episode_s, "connect_s": deadlines.connect_s}
        reply = await post(get_global_aiohttp_client(), self._url, orjson.dumps(params), headers, **timeouts)
        session.cookies.keep(reply.set_cookies)
        return object_of(reply.status, reply.body, "agent_failed", str(self._url))


def _set_cookies(reply: Response, session: FarSession) -> None:
    for name, value in session.cookies.items():
        reply.headers.append("set-cookie", f"{name}={value}; path=/; httponly; samesite=lax")


async def _call(session: ResourcesSession, call: Json) -> Json:
    """Run one function call; what the environment replies is the model's to read, errors included."""
    try:
        if call["name"] in _NO_TOOLS:
            raise ValueError(f"there is no tool {call['name']!r}")
        at_stage(f"tool {call['name']}")
        output = await session.call_tool(call["name"], json.loads(call["arguments"]))
    except (ValueError, TypeError, RecursionError) as error:  # of the arguments: what a tool raises is its reply
        output = json.dumps({"error": f"Invalid tool call arguments: {error!r}"})
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


def _speaks(output: list[Json]) -> bool:
    return any(item["type"] == "message" and item.get("role") == "assistant" for item in output)
