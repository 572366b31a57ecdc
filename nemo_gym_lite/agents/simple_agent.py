"""The tool loop: ask the model, call its tools one after another, until it answers; then verify."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import orjson
from fastapi import Request, Response
from pydantic import Field, PrivateAttr

from nemo_gym_lite.base_responses_api_agent import BaseResponsesAPIAgentConfig, SimpleResponsesAPIAgent
from nemo_gym_lite.clients import AgentClient, Json, ModelClient, ResourcesClient, ResourcesSession
from nemo_gym_lite.config_types import (
    AggregateMetrics,
    AggregateMetricsRequest,
    Deadlines,
    ModelServerRef,
    ResourcesServerRef,
)
from nemo_gym_lite.episode import at_stage, at_turn
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.row_fields import TASK_INDEX
from nemo_gym_lite.server_utils import get_first_server_config_dict, get_global_aiohttp_client
from nemo_gym_lite.serving.asgi import wants_delta
from nemo_gym_lite.serving.calls import json_object, require
from nemo_gym_lite.serving.far_model import FarModel
from nemo_gym_lite.serving.far_resources import FarResources

_NO_TOOLS = frozenset({"verify", "seed_session", "aggregate_metrics"})
"""Routes that only the agent calls: a model that could seed its session again would choose its own task."""

_IDLE_TURNS = 3
"""Turns in a row with neither a message nor a call, after which the episode ends."""


class SimpleAgentConfig(BaseResponsesAPIAgentConfig):
    """Config of the agent.

    Attributes:
        max_steps: Most turns of an episode; None for as many as the model's context holds.
    """

    resources_server: ResourcesServerRef
    model_server: ModelServerRef
    max_steps: int | None = Field(default=None, ge=1)
    deadlines: Deadlines = Deadlines()


class SimpleAgentLoop:
    """Plays episodes.

    Args:
        model: The policy.
        resources: The environment.
        config: `max_steps`, `skip_verification` and its reward.
        deadlines: When episodes end.
    """

    def __init__(
        self, model: ModelClient, resources: ResourcesClient, config: SimpleAgentConfig, deadlines: Deadlines
    ) -> None:
        self._model = model
        self._resources = resources
        self._config = config
        self._episode_s = deadlines.episode_s

    async def run(self, row: Json) -> Json:
        """Play one episode and return `response`, `reward` and the environment's fields."""
        session_id = uuid4().hex
        session = self._resources.open(session_id)
        if isinstance(task := row.get(TASK_INDEX), int):
            session_id = f"{task}-{session_id}"  # what is before the dash may keep a task's rollouts together
        so_far: Json = {}
        try:
            async with asyncio.timeout(self._episode_s):
                at_stage("seed")
                await session.seed(row)
                response = await self.play(row["responses_create_params"], session, session_id, so_far)
                so_far["response"] = response
                return {"response": response, **await self._verdict(row, response, session)}
        except FailedCallError as failure:
            failure.played = so_far
            raise
        except TimeoutError as error:
            too_long = FailedCallError("timeout", f"the episode took longer than {self._episode_s:g} s")
            too_long.played = so_far
            raise too_long from error
        finally:
            self._model.end_session(session_id)

    async def _verdict(self, row: Json, response: Json, session: ResourcesSession) -> Json:
        if self._config.skip_verification:
            return {"reward": self._config.skip_verification_reward, "verification_skipped": True}
        at_stage("verify")
        return await session.verify({**row, "response": response})

    async def play(self, params: Json, session: ResourcesSession, session_id: str, so_far: Json | None = None) -> Json:
        """Play all turns; the last response, with the output of all turns and their summed usage.

        Args:
            params: Responses create params.
            session: The environment's session.
            session_id: Id of the episode, for the model.
            so_far: Gets the `usage` after every turn, so that a failed episode's tokens are counted too.
        """
        so_far = {} if so_far is None else so_far
        conversation = _items(params["input"])
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

    async def close(self) -> None:
        """Model and environment belong to whoever made them."""


class SimpleAgent(SimpleResponsesAPIAgent):
    """The loop as a server, over a served model and a served environment."""

    config: SimpleAgentConfig

    _clients: tuple[SimpleAgentLoop, FarResources] | None = PrivateAttr(default=None)

    @classmethod
    def near_client(
        cls, instance: Any, model: ModelClient, resources: ResourcesClient, deadlines: Deadlines
    ) -> AgentClient | None:
        """The loop in the caller's process."""
        config = SimpleAgentConfig.model_validate({**instance.config, "name": instance.name})
        return SimpleAgentLoop(model, resources, config, deadlines)

    async def run(self, request: Request) -> Response:  # type: ignore[override]
        """Play one episode: a row in, the row with `response`, `reward` and the environment's fields out."""
        row = json_object(await request.body())
        require(row, "responses_create_params", "input")
        loop, _ = self._far_clients()
        played = await loop.run(row)
        reply = played if wants_delta(request.scope["headers"]) else {**row, **played}
        return Response(orjson.dumps(reply), media_type="application/json")

    async def responses(self, request: Request) -> Response:  # type: ignore[override]
        """Play all turns of a conversation in the environment's session that the cookies name."""
        params = json_object(await request.body())
        require(params, "input")
        loop, resources = self._far_clients()
        session_id = uuid4().hex
        session = resources.open(session_id, request.cookies)
        response = await loop.play(params, session, session_id)
        reply = Response(orjson.dumps(response), media_type="application/json")
        for name, value in session.cookies.items():
            reply.headers.append("set-cookie", f"{name}={value}; path=/; httponly; samesite=lax")
        return reply

    async def aggregate_metrics(self, body: AggregateMetricsRequest) -> AggregateMetrics:
        """The environment's metrics, standard statistics if it has none of its own."""
        _, resources = self._far_clients()
        metrics = await resources.aggregate_metrics(body.verify_responses)
        if metrics is None:
            return await super().aggregate_metrics(body)
        return AggregateMetrics.model_validate(metrics)

    def _far_clients(self) -> tuple[SimpleAgentLoop, FarResources]:
        if self._clients is None:
            http, deadlines = get_global_aiohttp_client(), self.config.deadlines
            model = FarModel(self._url_of(self.config.model_server.name), http, deadlines)
            resources = FarResources(self._url_of(self.config.resources_server.name), http, deadlines)
            self._clients = SimpleAgentLoop(model, resources, self.config, deadlines), resources
        return self._clients

    def _url_of(self, name: str) -> str:
        client = self.server_client
        return client._build_server_base_url(get_first_server_config_dict(client.global_config_dict, name))


def add_usage(total: Json | None, turn: Json | None) -> Json | None:
    """Token counts of two turns together; a count that neither knows stays unknown."""
    if total is None or turn is None:
        return total or turn
    summed = dict(total)
    for name, value in turn.items():
        known = summed.get(name)
        if isinstance(value, dict):
            summed[name] = add_usage(known, value)
        elif value is not None:
            summed[name] = value if known is None else known + value
    return summed


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


def _items(prompt: str | list[Json]) -> list[Json]:
    return [{"role": "user", "content": prompt, "type": "message"}] if isinstance(prompt, str) else [*prompt]


def _speaks(output: list[Json]) -> bool:
    return any(item["type"] == "message" and item.get("role") == "assistant" for item in output)
