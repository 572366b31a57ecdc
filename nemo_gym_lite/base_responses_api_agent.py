"""What an agent subclasses: an episode to play, as `POST /run`, and a turn loop, as `POST /v1/responses`."""

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
from nemo_gym_lite.openai_utils import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming
from nemo_gym_lite.reward_profile import compute_aggregate_metrics
from nemo_gym_lite.server_utils import SimpleServer, get_first_server_config_dict
from nemo_gym_lite.serving.app import ServerApp

__all__ = ["BaseResponsesAPIAgentConfig", "Body", "SimpleResponsesAPIAgent"]


class BaseResponsesAPIAgentConfig(BaseRunServerInstanceConfig):
    """Config of an agent; subclasses add their own fields."""

    skip_verification: bool = False
    skip_verification_reward: float = 0.0
    token_id_capture: bool = False


class SimpleResponsesAPIAgent(SimpleServer):
    """An agent server."""

    config: BaseResponsesAPIAgentConfig

    async def responses(self, body: NeMoGymResponseCreateParamsNonStreaming) -> NeMoGymResponse:
        """Play all turns of a conversation."""
        raise NotImplementedError(f"{type(self).__name__} does not define responses")

    async def run(self, body: BaseRunRequest) -> BaseVerifyResponse:
        """Play one episode: seed, turns, verify."""
        raise NotImplementedError(f"{type(self).__name__} does not define run")

    async def aggregate_metrics(self, body: AggregateMetricsRequest) -> AggregateMetrics:
        """Standard statistics of the agent's rows."""
        return compute_aggregate_metrics(body.verify_responses)

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
        """Id under which model calls of a row are captured; calls are not captured, so None."""
        return None

    def url_path_for_run(self, path: str, body: Any) -> str:
        """`path`, under which a row's calls are captured where calls are captured."""
        return path

    def url_path_for_request(self, path: str, request: Request) -> str:
        """`path`, under which a request's calls are captured where calls are captured."""
        return path

    def base_url_for_run(self, base_url: str, body: Any) -> str:
        """`base_url`, under which a row's calls are captured where calls are captured."""
        return base_url

    def resolve_model_base_url(self, model_server_name: str, rollout_id: str | None = None) -> str:
        """Base URL of a model server, for clients of the OpenAI API."""
        config = get_first_server_config_dict(self.server_client.global_config_dict, model_server_name)
        return f"{self.server_client._build_server_base_url(config)}/v1"
