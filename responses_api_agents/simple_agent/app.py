"""The tool loop: asks the model, calls its tools one after another until it answers, and verifies.

Here are the names by which other agents import it.
"""

from nemo_gym_lite.agents.simple_agent import (
    SimpleAgent,
    SimpleAgentConfig,
    SimpleAgentRunRequest,
    SimpleAgentVerifyRequest,
    SimpleAgentVerifyResponse,
)
from nemo_gym_lite.config_types import ModelServerRef, ResourcesServerRef

__all__ = [
    "ModelServerRef",
    "ResourcesServerRef",
    "SimpleAgent",
    "SimpleAgentConfig",
    "SimpleAgentRunRequest",
    "SimpleAgentVerifyRequest",
    "SimpleAgentVerifyResponse",
]

if __name__ == "__main__":
    SimpleAgent.run_webserver()
