"""What a model server subclasses: turns to answer, as plain JSON or in NeMo Gym's typed form."""

from typing import Any

import aiohttp
import orjson
from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from nemo_gym_lite.clients import Json, ModelClient
from nemo_gym_lite.config_types import BaseRunServerInstanceConfig, Deadlines
from nemo_gym_lite.openai_utils import (
    NeMoGymChatCompletion,
    NeMoGymChatCompletionCreateParamsNonStreaming,
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
)
from nemo_gym_lite.server_utils import SESSION_ID_KEY, SimpleServer
from nemo_gym_lite.serving.app import ServerApp
from nemo_gym_lite.serving.calls import json_object, require

__all__ = ["BaseResponsesAPIModelConfig", "Body", "SimpleResponsesAPIModel"]

_RESPONSES_FIELDS = frozenset(NeMoGymResponseCreateParamsNonStreaming.model_fields)
_CHAT_FIELDS = frozenset(NeMoGymChatCompletionCreateParamsNonStreaming.model_fields)


class BaseResponsesAPIModelConfig(BaseRunServerInstanceConfig):
    """Config of a model server; subclasses add their own fields."""


class SimpleResponsesAPIModel(SimpleServer):
    """A model server.

    A subclass either answers plain JSON in `respond` and `chat`, which is the fast way, or overrides
    NeMo Gym's `responses` and `chat_completions`.
    """

    config: BaseResponsesAPIModelConfig

    async def respond(self, params: Json, session_id: str) -> Json:
        """Answer Responses create params with a Responses object."""
        raise NotImplementedError(f"{type(self).__name__} does not define respond")

    async def chat(self, body: Json, session_id: str) -> Json:
        """Answer a Chat Completions request."""
        raise NotImplementedError(f"{type(self).__name__} does not define chat")

    async def responses(self, request: Request, body: NeMoGymResponseCreateParamsNonStreaming) -> NeMoGymResponse:
        """Answer Responses create params, typed."""
        params = body.model_dump(mode="json", exclude_unset=True)
        return NeMoGymResponse.model_validate(await self.respond(params, session_id_of(request)))

    async def chat_completions(
        self, request: Request, body: NeMoGymChatCompletionCreateParamsNonStreaming
    ) -> NeMoGymChatCompletion:
        """Answer a Chat Completions request, typed."""
        params = body.model_dump(mode="json", exclude_unset=True)
        return NeMoGymChatCompletion.model_validate(await self.chat(params, session_id_of(request)))

    @classmethod
    def near_client(cls, instance: Any, http: aiohttp.ClientSession, deadlines: Deadlines) -> ModelClient | None:
        """The model as an object in the caller's process; None if it can only be served.

        Args:
            instance: The configured server (`name`, `config`, `url`).
            http: The process's session.
            deadlines: When calls end.
        """
        return None

    def setup_webserver(self) -> FastAPI:
        """Make the app."""
        app = ServerApp(title=self.config.name)
        self.setup_session_middleware(app)
        own = type(self)
        plain_responses = own.responses is SimpleResponsesAPIModel.responses
        plain_chat = own.chat_completions is SimpleResponsesAPIModel.chat_completions
        app.post("/v1/responses")(self._serve_respond if plain_responses else self.responses)
        app.post("/v1/chat/completions")(self._serve_chat if plain_chat else self.chat_completions)
        return app

    async def _serve_respond(self, request: Request) -> Response:
        params = json_object(await request.body())
        _check_responses_params(params)
        reply = await self.respond(params, session_id_of(request))
        return Response(orjson.dumps(reply), media_type="application/json")

    async def _serve_chat(self, request: Request) -> Response:
        body = json_object(await request.body())
        require(body, "messages")
        known = {name: value for name, value in body.items() if name in _CHAT_FIELDS}
        reply = await self.chat(known, session_id_of(request))
        return Response(orjson.dumps(reply), media_type="application/json")


def session_id_of(request: Request) -> str:
    """The episode that a request belongs to: the header `X-Session-ID`, else the cookie's session."""
    named = request.headers.get("x-session-id")
    return named or str(request.session[SESSION_ID_KEY])


def _check_responses_params(params: Json) -> None:
    """Refuse what the API does not know; a misspelt sampling parameter must not go unnoticed."""
    require(params, "input")
    unknown = params.keys() - _RESPONSES_FIELDS
    if unknown:
        raise RequestValidationError(
            [
                {
                    "type": "extra_forbidden",
                    "loc": ("body", name),
                    "msg": "Extra inputs are not permitted",
                    "input": params[name],
                }
                for name in sorted(unknown)
            ]
        )
