"""What a model server subclasses: turns to answer, as plain JSON or in NeMo Gym's typed form."""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel

from nemo_gym_lite.clients import Json, ModelClient
from nemo_gym_lite.config_types import BaseRunServerInstanceConfig, Deadlines
from nemo_gym_lite.dialects.streamed import is_function
from nemo_gym_lite.model_calls import CaptureStore, ModelCallRecord, read_model_call_records
from nemo_gym_lite.openai_utils import (
    NeMoGymChatCompletion,
    NeMoGymChatCompletionCreateParamsNonStreaming,
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
)
from nemo_gym_lite.rollout_correlation import current_rollout_id
from nemo_gym_lite.server_utils import SESSION_ID_KEY, BaseServer, SimpleServer
from nemo_gym_lite.serving.app import ServerApp
from nemo_gym_lite.serving.calls import require
from nemo_gym_lite.serving.capture import CaptureMiddleware
from nemo_gym_lite.serving.model_routes import answer_chat, answer_messages, answer_responses, validated

__all__ = [
    "BaseResponsesAPIModel",
    "BaseResponsesAPIModelConfig",
    "Body",
    "CaptureStore",
    "ModelCallRecord",
    "SimpleResponsesAPIModel",
    "read_model_call_records",
]

_RESPONSES_FIELDS = frozenset(NeMoGymResponseCreateParamsNonStreaming.model_fields)
_CHAT_FIELDS = frozenset(NeMoGymChatCompletionCreateParamsNonStreaming.model_fields)


class BaseResponsesAPIModelConfig(BaseRunServerInstanceConfig):
    """Config of a model server; subclasses add their own fields."""


class BaseResponsesAPIModel(BaseServer):
    """A server of kind `responses_api_models`."""

    config: BaseResponsesAPIModelConfig


class SimpleResponsesAPIModel(BaseResponsesAPIModel, SimpleServer):
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
        store = CaptureStore.of_config(getattr(self.server_client, "global_config_dict", None))
        if store is not None:
            app.add_middleware(CaptureMiddleware, store=store, server=self.config.name)
        self.setup_session_middleware(app)
        app.post("/v1/responses")(self.responses_dispatch)
        app.post("/v1/chat/completions")(self.chat_completions_dispatch)
        app.post("/v1/messages")(self.messages)
        return app

    async def responses_dispatch(self, request: Request, body: Json) -> Response:
        """`POST /v1/responses`, whole or as a stream."""
        return await answer_responses(body, self._responses_asked, partial(self._respond, request), self.takes_tool)

    async def chat_completions_dispatch(self, request: Request, body: Json) -> Response:
        """`POST /v1/chat/completions`, whole or as a stream."""
        return await answer_chat(body, self._chat_asked, partial(self._chat, request))

    async def messages(self, request: Request, body: Json) -> Response:
        """`POST /v1/messages`, Anthropic's dialect, whole or as a stream, through the Responses side."""
        return await answer_messages(body, self._responses_asked, partial(self._respond, request))

    def takes_tool(self, tool: Json) -> bool:
        """Whether the model may be offered a tool of a client that streams; others are left out of its request."""
        return is_function(tool)

    def _responses_asked(self, params: Json) -> Any:
        if type(self).responses is not SimpleResponsesAPIModel.responses:
            return validated(NeMoGymResponseCreateParamsNonStreaming, params)
        _check_responses_params(params)
        return params

    async def _respond(self, request: Request, asked: Any) -> Any:
        if isinstance(asked, dict):
            return await self.respond(asked, session_id_of(request))
        return await _typed(self.responses, request, asked)

    def _chat_asked(self, body: Json) -> Any:
        if type(self).chat_completions is not SimpleResponsesAPIModel.chat_completions:
            return validated(NeMoGymChatCompletionCreateParamsNonStreaming, body)
        _check_chat_params(body)
        return {name: value for name, value in body.items() if name in _CHAT_FIELDS}

    async def _chat(self, request: Request, asked: Any) -> Any:
        if isinstance(asked, dict):
            return await self.chat(asked, session_id_of(request))
        return await _typed(self.chat_completions, request, asked)


def session_id_of(request: Request) -> str:
    """The episode of a request: the header `X-Session-ID`, else the rollout in its path, else the cookie's session."""
    named = request.headers.get("x-session-id") or current_rollout_id()
    return named or str(request.session[SESSION_ID_KEY])


async def _typed(method: Callable[..., Awaitable[Any]], request: Request, body: BaseModel) -> Any:
    """Call an author's method, with the request if it takes one."""
    if "request" in inspect.signature(method).parameters:
        return await method(request=request, body=body)
    return await method(body=body)


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


def _check_chat_params(body: Json) -> None:
    """Refuse a body without messages, or with something like a wish to stream that is none."""
    require(body, "messages")
    if (stream := body.get("stream")) not in (None, False):
        details = {"type": "literal_error", "loc": ("body", "stream"), "msg": "Input should be False", "input": stream}
        raise RequestValidationError([{**details, "ctx": {"expected": "False"}}])
