"""nemo_gym_lite: tasks in, scored rollouts out. Names at the top level are imported when they are first used.

Importing the package costs next to nothing and changes nothing in the process.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nemo_gym_lite.base_resources_server import (
        BaseResourcesServerConfig,
        BaseRunRequest,
        BaseSeedSessionRequest,
        BaseSeedSessionResponse,
        BaseVerifyRequest,
        BaseVerifyResponse,
        SimpleResourcesServer,
    )
    from nemo_gym_lite.base_responses_api_agent import BaseResponsesAPIAgentConfig, SimpleResponsesAPIAgent
    from nemo_gym_lite.base_responses_api_model import BaseResponsesAPIModelConfig, SimpleResponsesAPIModel
    from nemo_gym_lite.config_types import (
        AgentServerRef,
        AggregateMetrics,
        AggregateMetricsRequest,
        BaseRunServerConfig,
        BaseRunServerInstanceConfig,
        BaseServerConfig,
        Domain,
        ModelServerRef,
        ResourcesServerRef,
    )
    from nemo_gym_lite.openai_utils import (
        NeMoGymAsyncOpenAI,
        NeMoGymChatCompletion,
        NeMoGymChatCompletionCreateParamsNonStreaming,
        NeMoGymResponse,
        NeMoGymResponseCreateParamsNonStreaming,
    )
    from nemo_gym_lite.server_utils import SESSION_ID_KEY, ServerClient, get_response_json, raise_for_status

    __version__: str

__all__ = [
    "CACHE_DIR",
    "PARENT_DIR",
    "RESULTS_DIR",
    "ROOT_DIR",
    "SESSION_ID_KEY",
    "WORKING_DIR",
    "AgentServerRef",
    "AggregateMetrics",
    "AggregateMetricsRequest",
    "BaseResourcesServerConfig",
    "BaseResponsesAPIAgentConfig",
    "BaseResponsesAPIModelConfig",
    "BaseRunRequest",
    "BaseRunServerConfig",
    "BaseRunServerInstanceConfig",
    "BaseSeedSessionRequest",
    "BaseSeedSessionResponse",
    "BaseServerConfig",
    "BaseVerifyRequest",
    "BaseVerifyResponse",
    "Domain",
    "ModelServerRef",
    "NeMoGymAsyncOpenAI",
    "NeMoGymChatCompletion",
    "NeMoGymChatCompletionCreateParamsNonStreaming",
    "NeMoGymResponse",
    "NeMoGymResponseCreateParamsNonStreaming",
    "ResourcesServerRef",
    "ServerClient",
    "SimpleResourcesServer",
    "SimpleResponsesAPIAgent",
    "SimpleResponsesAPIModel",
    "__version__",
    "get_response_json",
    "raise_for_status",
]

ROOT_DIR = Path(__file__).absolute().parent
"""The package's own folder."""

PARENT_DIR = ROOT_DIR.parent
"""The install root: the repository, or the folder that packages are installed in."""

WORKING_DIR = PARENT_DIR if (PARENT_DIR / "pyproject.toml").is_file() else Path.cwd()
"""Where environments keep what they make: the repository, or the working folder if the package is installed."""

CACHE_DIR = WORKING_DIR / "cache"
RESULTS_DIR = WORKING_DIR / "results"

_HOMES = {
    "base_resources_server": """
        BaseResourcesServerConfig BaseRunRequest BaseSeedSessionRequest BaseSeedSessionResponse
        BaseVerifyRequest BaseVerifyResponse SimpleResourcesServer
        """,
    "base_responses_api_agent": "BaseResponsesAPIAgentConfig SimpleResponsesAPIAgent",
    "base_responses_api_model": "BaseResponsesAPIModelConfig SimpleResponsesAPIModel",
    "config_types": """
        AggregateMetrics AggregateMetricsRequest AgentServerRef BaseRunServerConfig BaseRunServerInstanceConfig
        BaseServerConfig Domain ModelServerRef ResourcesServerRef
        """,
    "openai_utils": """
        NeMoGymAsyncOpenAI NeMoGymChatCompletion NeMoGymChatCompletionCreateParamsNonStreaming
        NeMoGymResponse NeMoGymResponseCreateParamsNonStreaming
        """,
    "server_utils": "SESSION_ID_KEY ServerClient get_response_json raise_for_status",
}
_HOME_OF = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:  # or a checker would let every misspelt name pass

    def __getattr__(name: str) -> object:
        """Find a name in the module that defines it; a module that pulls in a web server is loaded only then."""
        if name == "__version__":
            return import_module("importlib.metadata").version("nemo-gym-lite")
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
        return value
