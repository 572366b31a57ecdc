"""The base class of environments that play in steps, and the bodies of their routes."""

import json
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from nemo_gym_lite.base_resources_server import BaseVerifyRequest, BaseVerifyResponse, SimpleResourcesServer
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.openai_utils import (
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
    NeMoGymResponseFunctionToolCall,
)
from nemo_gym_lite.server_utils import SESSION_ID_KEY
from nemo_gym_lite.serving.app import ServerApp


class EnvResetRequest(BaseModel):
    """A row to play; its other fields are the environment's `metadata`."""

    model_config = ConfigDict(extra="allow")

    responses_create_params: NeMoGymResponseCreateParamsNonStreaming


class EnvResetResponse(BaseModel):
    """What the model sees first, after its prompt."""

    observation: str | None = None
    info: dict[str, Any] = Field(default_factory=dict)


class EnvStepRequest(BaseModel):
    """The row with the model's last turn."""

    model_config = ConfigDict(extra="allow")

    responses_create_params: NeMoGymResponseCreateParamsNonStreaming
    response: NeMoGymResponse


class EnvStepResponse(BaseModel):
    """What a turn led to; rewards add up over an episode."""

    observation: str | None = None
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = Field(default_factory=dict)


def extract_text(response: NeMoGymResponse) -> str:
    """All text of a response's messages, joined."""
    texts: list[str] = []
    for item in response.output:
        content: Any = getattr(item, "content", None) if item.type == "message" else ()
        if isinstance(content, str):
            texts.append(content)
        else:
            texts += [part.text for part in content if part.type == "output_text"]
    return "".join(texts)


class GymnasiumServer(SimpleResourcesServer):
    """An environment that plays in steps, with the agent `gymnasium_agent`. Authors define `step`, and mostly `reset`.

    `session_state` holds what an episode needs from step to step, by session id; its entry goes when the episode ends.
    """

    MAX_SESSIONS: ClassVar[int] = 100_000
    """Episodes kept at once: those of a collector that was killed are never closed, so the oldest are dropped."""

    session_state: dict[str | None, Any] = Field(default_factory=dict)

    async def reset(self, metadata: dict[str, Any], session_id: str | None = None) -> tuple[str | None, dict[str, Any]]:
        """Begin an episode.

        Args:
            metadata: The row's fields beside `responses_create_params`.
            session_id: Id of the episode.

        Returns:
            What the model sees after its prompt, None for nothing more; and `info`, in which
            `supports_explicit_close: True` asks for a `POST /close` at every episode's end.
        """
        return None, {}

    async def step(
        self, action: NeMoGymResponse, metadata: dict[str, Any], session_id: str | None = None
    ) -> tuple[str | None, float, bool, bool, dict[str, Any]]:
        """Take the model's turn.

        Args:
            action: The turn.
            metadata: The row's fields beside `responses_create_params`.
            session_id: Id of the episode.

        Returns:
            What the model sees next, None for nothing; the reward of this step; whether the episode is over; whether
            it is broken off; and `info`, in which `tool_outputs` (of `tool_output`) answers the turn's calls.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define step")

    async def close_session(self, session_id: str | None) -> None:
        """Forget an episode that is over; override it to free more, and call this too."""
        self.session_state.pop(session_id, None)

    @staticmethod
    def tool_output(call: NeMoGymResponseFunctionToolCall, result: Any) -> dict[str, Any]:
        """The answer to one call, for `info["tool_outputs"]`."""
        return {"call_id": call.call_id, "output": json.dumps(result, default=str)}

    async def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        """Not here: rewards come from steps."""
        raise NotImplementedError(f"{type(self).__name__} scores in /step, with the agent gymnasium_agent")

    def verifies_later(self) -> bool:
        """No: a rollout is scored while it is played."""
        return False

    def setup_webserver(self) -> FastAPI:
        """Make the app, with `/reset` and `/step` in place of `/seed_session` and `/verify`."""
        for key in ("verify_pool", "expose_tools_over_mcp"):
            if getattr(self.config, key):
                raise ConfigError(
                    f"{self.config.name}.{key}: an environment in steps has no check and no tool routes",
                    "remove the key",
                )
        app = ServerApp(title=self.config.name)
        self.setup_session_middleware(app)
        app.post("/reset")(self._reset_endpoint)
        app.post("/step")(self._step_endpoint)
        app.post("/aggregate_metrics")(self.aggregate_metrics)
        app.get("/reverify_mode")(self.get_reverify_mode)
        return app

    def build_app(self) -> FastAPI:
        """The app as it is served, with a `/close` for episodes that break off where the author adds none."""
        app = super().build_app()
        if all(getattr(route, "path", None) != "/close" for route in app.routes):
            app.post("/close")(self._close_endpoint)
        return app

    async def _reset_endpoint(self, body: EnvResetRequest, request: Request) -> EnvResetResponse:
        observation, info = await self.reset(body.model_extra or {}, request.session.get(SESSION_ID_KEY))
        while len(self.session_state) > self.MAX_SESSIONS:
            await self.close_session(next(iter(self.session_state)))
        return EnvResetResponse(observation=observation, info=info)

    async def _step_endpoint(self, body: EnvStepRequest, request: Request) -> EnvStepResponse:
        session_id = request.session.get(SESSION_ID_KEY)
        observation, reward, terminated, truncated, info = await self.step(
            body.response, body.model_extra or {}, session_id
        )
        if terminated or truncated:
            await self.close_session(session_id)
        return EnvStepResponse(
            observation=observation, reward=reward, terminated=terminated, truncated=truncated, info=info
        )

    async def _close_endpoint(self, request: Request) -> dict[str, Any]:
        await self.close_session(request.session.get(SESSION_ID_KEY))
        return {}
