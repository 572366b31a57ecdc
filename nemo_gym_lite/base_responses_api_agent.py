"""What an agent subclasses: an episode to play, as `POST /run`, and a turn loop, as `POST /v1/responses`."""

import warnings
from collections.abc import Mapping
from typing import Any

from fastapi import Body, FastAPI, Request

from nemo_gym_lite.base_resources_server import BaseRunRequest, BaseVerifyResponse
from nemo_gym_lite.clients import AgentClient, ModelClient, ResourcesClient
from nemo_gym_lite.config_types import (
    AggregateMetrics,
    AggregateMetricsRequest,
    BaseRunServerInstanceConfig,
    Deadlines,
)
from nemo_gym_lite.global_config import OBSERVABILITY_ENABLED_KEY_NAME, TOKEN_ID_CAPTURE_BLOCK
from nemo_gym_lite.openai_utils import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming
from nemo_gym_lite.reward_profile import AggregateMetricsMixin, compute_aggregate_metrics
from nemo_gym_lite.rollout_correlation import (
    apply_rollout_prefix,
    current_rollout_id,
    maybe_rollout_id_from_run_body,
    rollout_path_prefix,
)
from nemo_gym_lite.server_utils import (
    TOKEN_CAPTURE_PATH_SEGMENT,
    BaseServer,
    SimpleServer,
    get_first_server_config_dict,
)
from nemo_gym_lite.serving.app import ServerApp

__all__ = ["BaseResponsesAPIAgent", "BaseResponsesAPIAgentConfig", "Body", "SimpleResponsesAPIAgent"]


class BaseResponsesAPIAgentConfig(BaseRunServerInstanceConfig):
    """Config of an agent; subclasses add their own fields."""

    skip_verification: bool = False
    skip_verification_reward: float = 0.0
    token_id_capture: bool = False


class BaseResponsesAPIAgent(BaseServer):
    """A server of kind `responses_api_agents`."""

    config: BaseResponsesAPIAgentConfig


class SimpleResponsesAPIAgent(BaseResponsesAPIAgent, AggregateMetricsMixin, SimpleServer):
    """An agent server. Authors define `run` and `responses`."""

    config: BaseResponsesAPIAgentConfig

    async def responses(self, body: NeMoGymResponseCreateParamsNonStreaming) -> NeMoGymResponse:
        """Play all turns of a conversation."""
        raise NotImplementedError(f"{type(self).__name__} does not define responses")

    async def run(self, body: BaseRunRequest) -> BaseVerifyResponse:
        """Play one episode: seed, turns, verify."""
        raise NotImplementedError(f"{type(self).__name__} does not define run")

    async def aggregate_metrics(self, body: AggregateMetricsRequest) -> AggregateMetrics:
        """Standard statistics of the agent's rows and its own metrics; nothing where nothing is verified."""
        if self.config.skip_verification:
            warnings.warn("skip_verification=true: there are no rewards to sum up", RuntimeWarning, stacklevel=2)
            return AggregateMetrics()
        return compute_aggregate_metrics(body.verify_responses, self.compute_metrics, self.get_key_metrics)

    @classmethod
    def near_client(
        cls, instance: Any, model: ModelClient, resources: ResourcesClient, deadlines: Deadlines
    ) -> AgentClient | None:
        """The agent as an object in the caller's process; None if it can only be served.

        Args:
            instance: The configured server (`name`, `config`, `url`).
            model: The model it asks.
            resources: The environment it plays.
            deadlines: When calls and episodes end.
        """
        return None

    def setup_webserver(self) -> FastAPI:
        """Make the app."""
        app = ServerApp(title=self.config.name)
        self.setup_session_middleware(app)
        app.post("/v1/responses")(self.responses)
        app.post("/run")(self.run)
        app.post("/aggregate_metrics")(self.aggregate_metrics)
        return app

    def rollout_id_from_run(self, body: Any) -> str | None:
        """Id under which the model calls of a row are captured; None if calls are not captured, or it has no labels.

        Raises:
            ValueError: The row's `_ng_rollout_id` cannot be a part of a path.
        """
        return maybe_rollout_id_from_run_body(body) if self._captures() else None

    def url_path_for_run(self, url_path: str, body: Any) -> str:
        """`url_path`, with the row's rollout before it where calls are captured."""
        return self._prefix(self.rollout_id_from_run(body)) + url_path

    def url_path_for_request(self, url_path: str, request: Request | None) -> str:
        """`url_path`, with the rollout before it that was before the request's own path."""
        params = getattr(request, "path_params", None)
        rollout_id = params.get("rollout_id") if isinstance(params, Mapping) else None
        asked = str(getattr(getattr(request, "url", None), "path", ""))
        token_capture = f"/{TOKEN_CAPTURE_PATH_SEGMENT}/" in asked
        return rollout_path_prefix(rollout_id or current_rollout_id(), token_capture=token_capture) + url_path

    def base_url_for_run(self, base_url: str, body: Any) -> str:
        """`base_url` (without `/v1`), with the row's rollout after it where calls are captured."""
        return apply_rollout_prefix(base_url, self.rollout_id_from_run(body), token_capture=self._captures_token_ids())

    def resolve_model_base_url(self, model_server_name: str, rollout_id: str | None = None) -> str:
        """Base URL of a model server, for clients of the OpenAI API."""
        config = get_first_server_config_dict(self.server_client.global_config_dict, model_server_name)
        return f"{self.server_client._build_server_base_url(config)}{self._prefix(rollout_id)}/v1"

    def _prefix(self, rollout_id: str | None) -> str:
        return rollout_path_prefix(rollout_id, token_capture=self._captures_token_ids())

    def _captures(self) -> bool:
        return bool(self._setting(OBSERVABILITY_ENABLED_KEY_NAME)) or self._captures_token_ids()

    def _captures_token_ids(self) -> bool:
        block = self._setting(TOKEN_ID_CAPTURE_BLOCK)
        if not isinstance(block, Mapping) or not block.get("enabled"):
            return False
        return bool(block.get("all_agents")) or self.config.token_id_capture

    def _setting(self, name: str) -> Any:
        tree = getattr(self.server_client, "global_config_dict", None)  # a mock of the client has none
        return tree.get(name) if isinstance(tree, Mapping) else None
