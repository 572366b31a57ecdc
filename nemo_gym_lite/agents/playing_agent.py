"""What agents share that play a model in an environment: the episode's frame, their near side and their served side."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import PrivateAttr

from nemo_gym_lite.base_resources_server import BaseRunRequest
from nemo_gym_lite.base_responses_api_agent import BaseResponsesAPIAgentConfig, SimpleResponsesAPIAgent
from nemo_gym_lite.clients import Json, ModelClient, ResourcesClient, ResourcesSession
from nemo_gym_lite.config_types import (
    AggregateMetrics,
    AggregateMetricsRequest,
    Deadlines,
    ModelServerRef,
    ResourcesServerRef,
)
from nemo_gym_lite.dialects.token_turns import token_ids_contiguous
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.openai_utils import NeMoGymResponseCreateParamsNonStreaming
from nemo_gym_lite.rollout_correlation import rollout_context
from nemo_gym_lite.row_fields import CONTIGUOUS, TASK_INDEX
from nemo_gym_lite.server_utils import get_first_server_config_dict, get_global_aiohttp_client
from nemo_gym_lite.serving.asgi import wants_played
from nemo_gym_lite.serving.calls import json_object, require
from nemo_gym_lite.serving.far_model import FarModel
from nemo_gym_lite.serving.far_resources import FarResources
from nemo_gym_lite.serving.model_routes import validated


class PlayingAgentConfig(BaseResponsesAPIAgentConfig):
    """Config of an agent that plays one model in one environment."""

    resources_server: ResourcesServerRef
    model_server: ModelServerRef
    deadlines: Deadlines = Deadlines()


class EpisodeLoop:
    """Plays episodes; what happens in one is `_play`.

    Args:
        model: The policy.
        resources: The environment.
        config: The agent's own settings.
        deadlines: When episodes end.
    """

    def __init__(self, model: ModelClient, resources: ResourcesClient, config: Any, deadlines: Deadlines) -> None:
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
                return _flagged(await self._play(row, session, session_id, so_far))
        except FailedCallError as failure:
            failure.played = so_far
            raise
        except TimeoutError as error:
            too_long = FailedCallError("timeout", f"the episode took longer than {self._episode_s:g} s")
            too_long.played = so_far
            raise too_long from error
        finally:
            self._model.end_session(session_id)

    async def _play(self, row: Json, session: ResourcesSession, session_id: str, so_far: Json) -> Json:
        """Play one episode; `so_far` gets what a failed one's line should keep: `usage`, the whole `response`."""
        raise NotImplementedError(f"{type(self).__name__} plays nothing")

    async def close(self) -> None:
        """Model and environment belong to whoever made them."""


def _flagged(played: Json) -> Json:
    """Say of a rollout with token ids whether its turns are one sequence."""
    contiguous = token_ids_contiguous((played.get("response") or {}).get("output") or ())
    return played if contiguous is None else {**played, CONTIGUOUS: contiguous}


class PlayingAgent(SimpleResponsesAPIAgent):
    """An agent whose episodes an `EpisodeLoop` plays, in the collector or over a served model and environment."""

    config: PlayingAgentConfig

    _clients: tuple[EpisodeLoop, FarResources] | None = PrivateAttr(default=None)

    def setup_webserver(self) -> FastAPI:
        """Make the app; routes that no subclass redefines pass on what they get without building models of it."""
        app = super().setup_webserver()
        for path, (inherited, serve) in self._short_cuts().items():
            if getattr(type(self), inherited.__name__) is inherited:
                app.router.routes[:] = [route for route in app.routes if getattr(route, "path", None) != path]
                app.post(path)(serve)
        return app

    def _short_cuts(self) -> dict[str, tuple[Callable[..., Any], Callable[[Request], Awaitable[Response]]]]:
        """By path: the method of this class that stands for it, and what serves it as long as nobody overrides that."""
        return {}

    async def _serve_run(self, request: Request) -> Response:
        """A row in, the row with `response`, `reward` and the environment's fields out, its params with every field."""
        row = json_object(await request.body())
        require(row, "responses_create_params", "input")
        echoes = not wants_played(request.scope["headers"])
        if echoes:
            validated(BaseRunRequest, row)
        with rollout_context(self.rollout_id_from_run(row)):
            reply = await self._far_clients()[0].run(row)
        if echoes:
            reply = {**row, **reply}
            whole = NeMoGymResponseCreateParamsNonStreaming.model_validate(reply["responses_create_params"])
            reply["responses_create_params"] = whole.model_dump(mode="json")
        return Response(orjson.dumps(reply), media_type="application/json")

    async def aggregate_metrics(self, body: AggregateMetricsRequest) -> AggregateMetrics:
        """The environment's metrics, standard statistics if it has none of its own."""
        _, resources = self._far_clients()
        scored = not self.config.skip_verification
        metrics = await resources.aggregate_metrics(body.verify_responses) if scored else None
        if metrics is None:
            return await super().aggregate_metrics(body)
        return AggregateMetrics.model_validate(metrics)

    def _far_clients(self) -> tuple[EpisodeLoop, FarResources]:
        if self._clients is None:
            http, deadlines = get_global_aiohttp_client(), self.config.deadlines
            model = FarModel(self._url_of(self.config.model_server.name), http, deadlines)
            resources = FarResources(self._url_of(self.config.resources_server.name), http, deadlines)
            self._clients = self._loop(model, resources), resources
        return self._clients

    def _loop(self, model: FarModel, resources: FarResources) -> EpisodeLoop:
        """What plays the episodes of this server."""
        raise NotImplementedError(f"{type(self).__name__} plays no episodes")

    def _url_of(self, name: str) -> str:
        client = self.server_client
        return client._build_server_base_url(get_first_server_config_dict(client.global_config_dict, name))


def near_config(cls: Any, instance: Any) -> Any:
    """The settings of a configured agent (`name`, `config`) as the model that its class asks for."""
    return cls.model_fields["config"].annotation.model_validate({**instance.config, "name": instance.name})


def items_of(prompt: str | list[Json]) -> list[Json]:
    """A prompt as a list of items, new and the caller's to change."""
    return [{"role": "user", "content": prompt, "type": "message"}] if isinstance(prompt, str) else [*prompt]


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
