"""What an environment subclasses: sessions to seed, tools to call, rollouts to verify, metrics to compute."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

from fastapi import FastAPI
from omegaconf import OmegaConf
from pydantic import BaseModel, PrivateAttr

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import (
    AggregateMetrics,
    AggregateMetricsRequest,
    BaseRunServerInstanceConfig,
    VerifyPool,
)
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.judge import judge_failsafe
from nemo_gym_lite.openai_utils import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming
from nemo_gym_lite.reward_profile import AggregateMetricsMixin, compute_aggregate_metrics
from nemo_gym_lite.server_utils import SimpleServer
from nemo_gym_lite.serving.app import ServerApp
from nemo_gym_lite.serving.check_pool import CheckPool
from nemo_gym_lite.serving.mcp_exposure import (
    NEMO_GYM_MCP_METADATA_KEY,
    NEMO_GYM_MCP_SESSION_TOKEN_HEADER,
    MCPServerMetadata,
    bare_tool_name,
    expose_tools,
)
from nemo_gym_lite.serving.mcp_tools import RESERVED_MCP_TOOL_NAMES, CatchAll, MCPTool

__all__ = [
    "NEMO_GYM_MCP_METADATA_KEY",
    "NEMO_GYM_MCP_SESSION_TOKEN_HEADER",
    "RESERVED_MCP_TOOL_NAMES",
    "AggregateMetrics",
    "AggregateMetricsRequest",
    "BaseMultiRewardVerifyResponse",
    "BaseResourcesServer",
    "BaseResourcesServerConfig",
    "BaseRunRequest",
    "BaseSeedSessionRequest",
    "BaseSeedSessionResponse",
    "BaseVerifyRequest",
    "BaseVerifyResponse",
    "MCPServerMetadata",
    "NeMoGymResponse",
    "ReverifyMode",
    "SimpleResourcesServer",
]


class ReverifyMode(StrEnum):
    """Whether finished rollouts can be scored again."""

    STATELESS = "stateless"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


class BaseResourcesServerConfig(BaseRunServerInstanceConfig):
    """Config of an environment; subclasses add their own fields.

    Attributes:
        expose_tools_over_mcp: Show the tools under `/mcp` too, for command-line harnesses; needs the extra `mcp`.
        verify_pool: For checks that can block, crash or take much memory: run them in processes that can be killed.
    """

    REVERIFY_MODE: ClassVar[ReverifyMode] = ReverifyMode.UNKNOWN

    expose_tools_over_mcp: bool = False
    verify_pool: VerifyPool | None = None


class BaseRunRequest(BaseModel):
    """A row to play."""

    responses_create_params: NeMoGymResponseCreateParamsNonStreaming


class BaseVerifyRequest(BaseRunRequest):
    """A played row to score."""

    response: NeMoGymResponse


class BaseVerifyResponse(BaseVerifyRequest):
    """A scored row."""

    reward: float


class BaseMultiRewardVerifyResponse(BaseVerifyResponse):
    """A row scored in several respects."""

    reward_components: dict[str, float]


class BaseSeedSessionRequest(BaseModel):
    """The row for which a session is set up; subclasses name the fields they need."""


class BaseSeedSessionResponse(BaseModel):
    """What seeding replies; nothing by default."""


class BaseResourcesServer(SimpleServer):
    """A server of kind `resources_servers`."""

    config: BaseResourcesServerConfig


class SimpleResourcesServer(BaseResourcesServer, AggregateMetricsMixin):
    """An environment. Authors define `verify`, and as needed `seed_session`, tools and metrics.

    Tools are added in an override of `setup_webserver`: `app.post("/get_weather")(self.get_weather)`.
    """

    _check_pool: CheckPool | None = PrivateAttr(default=None)

    async def seed_session(self, body: BaseSeedSessionRequest) -> BaseSeedSessionResponse:
        """Set up a session's state; called before the first turn if overridden."""
        return BaseSeedSessionResponse()

    async def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        """Score a rollout."""
        raise NotImplementedError(f"{type(self).__name__} does not define verify")

    async def aggregate_metrics(self, body: AggregateMetricsRequest) -> AggregateMetrics:
        """Standard statistics plus the environment's own metrics."""
        return compute_aggregate_metrics(body.verify_responses, self.compute_metrics, self.get_key_metrics)

    async def get_reverify_mode(self) -> str:
        """Whether finished rollouts can be scored again."""
        return str(self.config.REVERIFY_MODE)

    def normalize_tool_name(self, name: str) -> str:
        """`mcp__server__tool` -> `tool`; checks see calls that were made over MCP by this name."""
        return bare_tool_name(name, self.config.name)

    def mcp_tools(self, harvested: list[MCPTool], catchall: CatchAll | None) -> list[MCPTool] | None:
        """The tools that agents see over MCP: all that have a route of their own.

        Args:
            harvested: One for each such route; leave some out, or add to them.
            catchall: The route that answers tools of any name, if there is one: `catchall.tool(name, schema, text)`.
        """
        return harvested

    def mcp_allowed_tools_for_session(self, seed_body: Json) -> list[str] | None:
        """Names of the tools that the session of this row may call over MCP; None for all."""
        return None

    def seeds_sessions(self) -> bool:
        """Whether `seed_session` does anything."""
        return type(self).seed_session is not SimpleResourcesServer.seed_session

    def has_metrics(self) -> bool:
        """Whether the environment computes metrics of its own."""
        names = ("compute_metrics", "get_key_metrics", "aggregate_metrics")
        return any(getattr(type(self), name) is not getattr(SimpleResourcesServer, name) for name in names)

    def describe(self) -> Json:
        """What `GET /` answers; our clients read from it which calls they may skip."""
        facts = {"seeds_sessions": self.seeds_sessions(), "has_metrics": self.has_metrics()}
        if self.config.verify_pool is not None:
            facts["queues_checks"] = True
        if not self.verifies_later():
            facts["verifies_later"] = False
        return super().describe() | facts

    def setup_webserver(self) -> FastAPI:
        """Make the app; authors call this and add their tools."""
        app = ServerApp(title=self.config.name)
        self.setup_session_middleware(app)
        app.post("/seed_session")(self.seed_session)
        app.post("/verify")(self._verify_route())
        app.post("/aggregate_metrics")(self.aggregate_metrics)
        app.get("/reverify_mode")(self.get_reverify_mode)
        return app

    def build_app(self) -> FastAPI:
        """The app as it is served, with its tools over MCP where that is configured."""
        app = super().build_app()
        if self.config.expose_tools_over_mcp:
            expose_tools(self, app)
        return app

    async def _release(self) -> None:
        await super()._release()
        if self._check_pool is not None:
            await self._check_pool.close()

    def verifies_rows_alone(self) -> bool:
        """Whether a check sees the row only, and not the session in which it was played."""
        kinds = (each.annotation for each in inspect.signature(self.verify).parameters.values())
        names = (str(getattr(kind, "__name__", kind)) for kind in kinds)
        return not any(name.rpartition(".")[2] == "Request" for name in names)

    def verifies_later(self) -> bool:
        """Whether stored rollouts can be scored."""
        return self.config.REVERIFY_MODE != ReverifyMode.UNSUPPORTED and self.verifies_rows_alone()

    def _verify_route(self) -> Callable[..., Any]:
        settings = self.config.verify_pool
        if settings is None:
            return judge_failsafe(self.verify)
        if not self.verifies_rows_alone():
            raise ConfigError(
                f"{self.config.name}.verify_pool: its `verify` takes the request, and with it the session's state, "
                "which is not in the processes of the pool",
                "remove the key, or let `verify` take nothing but the row",
            )
        tree: Any = OmegaConf.to_container(self.server_client.global_config_dict, resolve=True)
        self._check_pool = CheckPool(self.config.name, settings, tree)
        return self._check_pool.verify
