"""A counter of one's own for each session: seeded, changed and read by tools, compared at the end."""

from collections import OrderedDict

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field, PrivateAttr

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseSeedSessionRequest,
    BaseSeedSessionResponse,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym_lite.server_utils import SESSION_ID_KEY


class SessionCounterResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration."""

    max_sessions: int = Field(default=100_000, ge=1, description="counters kept at once, oldest dropped")


class SessionCounterSeedSessionRequest(BaseSeedSessionRequest):
    """The part of a row that seeds its session."""

    initial_value: int


class IncrementRequest(BaseModel):
    """Arguments of the tool `increment`."""

    by: int = Field(ge=-1000, le=1000)


class IncrementResponse(BaseModel):
    """What was added; the value must be read with `get_value`."""

    added: int


class GetValueResponse(BaseModel):
    """The counter's value."""

    value: int


class SessionCounterVerifyRequest(BaseVerifyRequest):
    """A row of the data with the model's response."""

    expected_value: int


class SessionCounterVerifyResponse(BaseVerifyResponse):
    """The verdict; `value` is what the counter held at the end."""

    expected_value: int
    value: int
    num_tool_calls: int


class SessionCounterResourcesServer(SimpleResourcesServer):
    """Keeps one counter per session id, which arrives in the session's cookie."""

    config: SessionCounterResourcesServerConfig
    _values: OrderedDict[str, int] = PrivateAttr(default_factory=OrderedDict)

    def setup_webserver(self) -> FastAPI:
        """Add the tools' routes."""
        app = super().setup_webserver()
        app.post("/increment")(self.increment)
        app.post("/get_value")(self.get_value)
        return app

    async def seed_session(self, request: Request, body: SessionCounterSeedSessionRequest) -> BaseSeedSessionResponse:
        """Give the session its counter."""
        self._values[request.session[SESSION_ID_KEY]] = body.initial_value
        # an episode that fails before its check leaves its counter behind, so the table needs a bound
        while len(self._values) > self.config.max_sessions:
            self._values.popitem(last=False)
        return BaseSeedSessionResponse()

    async def increment(self, request: Request, body: IncrementRequest) -> IncrementResponse:
        """Add to the session's counter."""
        self._values[self._seeded(request)] += body.by
        return IncrementResponse(added=body.by)

    async def get_value(self, request: Request) -> GetValueResponse:
        """Read the session's counter."""
        return GetValueResponse(value=self._values[self._seeded(request)])

    async def verify(self, request: Request, body: SessionCounterVerifyRequest) -> SessionCounterVerifyResponse:
        """Reward 1 if the counter holds the expected value, else 0; the counter is gone afterwards."""
        value = self._values.pop(self._seeded(request))
        return SessionCounterVerifyResponse(
            **dict(body),
            reward=float(value == body.expected_value),
            value=value,
            num_tool_calls=sum(item.type == "function_call" for item in body.response.output),
        )

    def _seeded(self, request: Request) -> str:
        session_id: str = request.session[SESSION_ID_KEY]
        if session_id not in self._values:
            raise HTTPException(409, "this session has no counter: never seeded, or verified already")
        return session_id


if __name__ == "__main__":
    SessionCounterResourcesServer.run_webserver()
