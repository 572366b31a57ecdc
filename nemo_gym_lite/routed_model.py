"""What model servers in front of HTTP endpoints share: strict settings, a router, both sides of the edge."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

import aiohttp
from fastapi import FastAPI
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from nemo_gym_lite.base_responses_api_model import BaseResponsesAPIModelConfig, SimpleResponsesAPIModel
from nemo_gym_lite.clients import Json
from nemo_gym_lite.clock import SystemClock
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.config.wording import complaints, did_you_mean
from nemo_gym_lite.config_types import BaseRunServerInstanceConfig, Deadlines
from nemo_gym_lite.errors import ConfigError, EndpointError, FailedCallError
from nemo_gym_lite.rollouts.vitals import Vitals
from nemo_gym_lite.routing.base_urls import base_urls
from nemo_gym_lite.routing.breaker import BreakerPolicy
from nemo_gym_lite.routing.endpoint import Endpoint
from nemo_gym_lite.routing.endpoints_file import EndpointsFile
from nemo_gym_lite.routing.engine_metrics import OwnEngine
from nemo_gym_lite.routing.homes import Affinity, Placement
from nemo_gym_lite.routing.limiter import Limiter
from nemo_gym_lite.routing.pool import EndpointPool, UrlSource
from nemo_gym_lite.routing.rates import RateLimiter
from nemo_gym_lite.routing.retry import RetryPolicy
from nemo_gym_lite.routing.router import Router
from nemo_gym_lite.routing.snapshot import EndpointSnapshot
from nemo_gym_lite.server_utils import get_global_aiohttp_client

_BLOCK_KEYS = frozenset(BaseRunServerInstanceConfig.model_fields) | {
    *("placement", "datasets", "description", "value", "verified", "verified_url"),
    *("skip_verification", "skip_verification_reward"),
}
"""Keys of a server's block that are not the implementation's own."""

_OVERFLOWS = (b"context_length_exceeded", b"context length", b"context window")

BaseUrls = Annotated[list[str], BeforeValidator(base_urls)]
"""Base URLs of endpoints that serve the same model."""


class RoutingConfig(BaseModel):
    """Where a model call goes, when it is tried again, and when an endpoint is left alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(default=10, ge=1, description="requests that may fail before a call fails")
    budget_s: float = Field(default=600.0, ge=0, description="seconds after which a call begins no further request")
    placement: Placement = Field(default="least_loaded", description="where a session starts")
    session_affinity: Affinity = Field(
        default="session", description="whether each session stays at its endpoint, or all sessions of a task do"
    )
    affinity_margin: int = Field(
        default=16, ge=0, description="requests in flight more than the least loaded endpoint's before sessions leave"
    )
    trip_after: int = Field(default=3, ge=1, description="failures in a row that take an endpoint out")
    trip_rate: float = Field(
        default=0.5, gt=0, le=1, description="share of failures among the last 20 requests that takes an endpoint out"
    )
    rest_s: float = Field(default=10.0, gt=0, description="longest rest of an endpoint before it is probed, in seconds")
    patience_s: float = Field(default=60.0, ge=0, description="seconds that calls wait when all endpoints are down")

    def router(
        self,
        endpoints: Sequence[Endpoint],
        max_in_flight: int | None = None,
        limiter: Limiter | None = None,
        source: UrlSource | None = None,
    ) -> Router:
        """A router over `endpoints`, and over those that `source` tells later."""
        clock = SystemClock()
        pool = EndpointPool(
            [endpoint.base_url for endpoint in endpoints],
            clock,
            policy=BreakerPolicy(self.trip_after, self.trip_rate, self.rest_s),
            patience_s=self.patience_s,
            placement=self.placement,
            affinity=self.session_affinity,
            margin=self.affinity_margin,
            source=source,
        )
        policy = RetryPolicy(attempts=self.attempts, budget_s=self.budget_s)
        return Router(endpoints, pool, policy, clock, limiter=limiter, max_in_flight=max_in_flight)


class RoutedModelConfig(BaseResponsesAPIModelConfig):
    """Settings of a model behind endpoints. A key that nobody reads is an error."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kept_for_nemo_gym: ClassVar[frozenset[str]] = frozenset()
    """Keys of NeMo Gym's configurations that are accepted and say nothing here."""

    routing: RoutingConfig = Field(default_factory=RoutingConfig, description="retries and failover")
    deadlines: Deadlines | None = Field(
        default=None, description="deadlines of this model's calls, in place of the command's"
    )
    endpoints_file: str | None = Field(
        default=None, description="file of base URLs that take the place of the configured ones, read when it changes"
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="requests that all endpoints together get within any 60 s; further ones wait"
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="prompt and generated tokens of all endpoints within any 60 s"
    )

    def router(self, endpoints: Sequence[Endpoint], max_in_flight: int | None = None) -> Router:
        """A router over `endpoints` that keeps the limits per minute, and those that the replies' headers tell."""
        limiter = RateLimiter(self.requests_per_minute, self.tokens_per_minute, SystemClock())
        source = EndpointsFile(find(self.endpoints_file) or Path(self.endpoints_file)) if self.endpoints_file else None
        if source is not None:
            source.listen()
        return self.routing.router(endpoints, max_in_flight, limiter, source)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            known = set(cls.model_fields) | _BLOCK_KEYS | cls.kept_for_nemo_gym
            for key in values:
                if key not in known:
                    where = f"server `{values.get('name', cls.__name__)}`"
                    hint = did_you_mean(str(key), known, f"its keys are {', '.join(sorted(cls.own_keys()))}")
                    raise ConfigError(f"{where}: unknown key `{key}`", hint)
        return values

    @classmethod
    def own_keys(cls) -> set[str]:
        """Keys that are not every server's."""
        return set(cls.model_fields) - _BLOCK_KEYS

    @classmethod
    def of_instance(cls, config: Mapping[str, Any]) -> Self:
        """Validate an instance's settings.

        Raises:
            ConfigError: They do not fit; the message lists every complaint.
        """
        try:
            return cls.model_validate(config)
        except ValidationError as error:
            name = config.get("name", cls.__name__)
            lines = [f"server `{name}`:", *(f"  {line}" for line in complaints(error))]
            raise ConfigError("\n".join(lines), "docs/reference/configuration.md lists keys and values") from error


class RoutedModelClient:
    """A model in the caller's process: `ModelClient` over a router, and Chat Completions beside it.

    Args:
        router: Where calls go.
        engine: What answers, if it is in this process too; entered before the first call.
    """

    def __init__(self, router: Router, engine: OwnEngine | None = None) -> None:
        self.router = router
        self.engine = engine

    @property
    def endpoint_count(self) -> int:
        """Number of endpoints that calls are spread over."""
        return len(self.router.pool.states)

    async def respond(self, params: Json, session_id: str) -> Json:
        """Play one turn; see `ModelClient`."""
        raise NotImplementedError(f"{type(self).__name__} does not define respond")

    async def chat(self, body: Json, session_id: str) -> Json:
        """Answer a Chat Completions request."""
        raise NotImplementedError(f"{type(self).__name__} does not define chat")

    async def ask(self, session_id: str, path: str, body: Json) -> Json | None:
        """The endpoints' answer, None if the prompt does not fit into the model.

        Raises:
            FailedCallError: There was none to be had.
        """
        try:
            return await self.router.call(session_id, path, body)
        except EndpointError as error:
            if not self.forgives(error):
                raise
            return None

    def forgives(self, error: EndpointError) -> bool:
        """Whether a refusal is answered with nothing: it says that the prompt does not fit into the model."""
        return error.status == 400 and any(text in error.body for text in _OVERFLOWS)

    def end_session(self, session_id: str) -> None:
        """Forget a finished session; unknown ids are ignored."""
        self.router.end_session(session_id)

    async def close(self) -> None:
        """Nothing is held open here; the HTTP session is the caller's."""


class RoutedModel(SimpleResponsesAPIModel):
    """A model server in front of endpoints; a subclass says with `client_of` what its client is."""

    config: RoutedModelConfig

    _client: RoutedModelClient | None = PrivateAttr(None)

    @classmethod
    def client_of(cls, config: Any, http: aiohttp.ClientSession, deadlines: Deadlines) -> RoutedModelClient:
        """The client for `config`, of the class that the subclass annotates."""
        raise NotImplementedError(f"{cls.__name__} does not define client_of")

    @classmethod
    def near_client(cls, instance: Any, http: aiohttp.ClientSession, deadlines: Deadlines) -> RoutedModelClient | None:
        """The model in the caller's process.

        Raises:
            ConfigError: The instance's configuration does not fit.
        """
        config = _config_class(cls).of_instance(instance.config)
        return cls.client_of(config, http, config.deadlines or deadlines)

    async def respond(self, params: Json, session_id: str) -> Json:
        """Answer Responses create params with a Responses object."""
        return await self._served().respond(params, session_id)

    async def chat(self, body: Json, session_id: str) -> Json:
        """Answer a Chat Completions request."""
        return await self._served().chat(body, session_id)

    def setup_webserver(self) -> FastAPI:
        """Make the app, with `GET /endpoints` for whoever asks how they are."""
        app = super().setup_webserver()
        app.get("/endpoints")(self.endpoints)
        return app

    async def endpoints(self) -> list[EndpointSnapshot]:
        """The endpoints as this server sees them."""
        return list(self._served().router.pool.snapshot())

    def vitals(self) -> Vitals:
        """Endpoints and calls, for `GET /metrics`."""
        vitals = Vitals()
        if self._client is not None:
            router = self._client.router
            vitals.endpoints[self.config.name] = list(router.pool.snapshot())
            vitals.calls.merge(router.stats)
        return vitals

    def _served(self) -> RoutedModelClient:
        """The served side's client, made when the event loop that it belongs to runs."""
        if self._client is None:
            deadlines = self.config.deadlines or Deadlines()
            self._client = self.client_of(self.config, get_global_aiohttp_client(), deadlines)
        return self._client


def model_of(params: Json, configured: str) -> str:
    """The request's model, else the configured one.

    Raises:
        FailedCallError: `bad_request`: neither names one.
    """
    model = params.get("model") or configured
    if not model:
        raise FailedCallError(
            "bad_request",
            "neither the request nor the configuration names a model",
            "add `+responses_create_params.model=...` or `policy_model_name`",
        )
    return str(model)


def _config_class(server: type[RoutedModel]) -> type[RoutedModelConfig]:
    annotation = server.model_fields["config"].annotation
    assert isinstance(annotation, type), get_args(annotation)
    assert issubclass(annotation, RoutedModelConfig)
    return annotation
