"""Tasks of the library reasoning-gym, each scored by the dataset that it is from."""

from typing import Annotated, Any, ClassVar

from fastapi import FastAPI
from pydantic import AfterValidator, Field

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    BaseVerifyResponse,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym_lite.reward_profile import compute_pass_majority_metrics, compute_subset_metrics, highest_k_metrics
from resources_servers.reasoning_gym.answers import extract_answer
from resources_servers.reasoning_gym.generators import library, score


def _check_source(metadata: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(metadata.get("source_dataset"), str):
        raise ValueError("metadata has no source_dataset, the dataset that scores the answer")
    return metadata


class ReasoningGymResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration; there is nothing to set of its own."""

    REVERIFY_MODE: ClassVar[ReverifyMode] = ReverifyMode.STATELESS


class ReasoningGymVerifyRequest(BaseVerifyRequest):
    """A row as `ng_make_tasks` writes it, with the model's response."""

    question: str
    answer: str | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(_check_source)]
    dataset_settings: dict[str, Any] = Field(default_factory=dict)


class ReasoningGymVerifyResponse(BaseVerifyResponse):
    """The verdict.

    Attributes:
        task_name: The dataset.
        score: The same as `reward`.
        extracted_answer: What was scored.
        has_answer: Whether the reply marks its answer, by tags or a box.
        complaint: Why the dataset could not read the answer, empty if it could.
    """

    task_name: str
    score: float
    extracted_answer: str
    has_answer: bool
    complaint: str


class ReasoningGymResourcesServer(SimpleResourcesServer):
    """Scores the answer that the reply gives with its dataset's own rule, from 0 to 1."""

    config: ReasoningGymResourcesServerConfig

    def setup_webserver(self) -> FastAPI:
        """The standard routes; loads the library where checks are made, so that no check waits for it."""
        if self.config.verify_pool is None:
            library()
        return super().setup_webserver()

    async def verify(self, body: ReasoningGymVerifyRequest) -> ReasoningGymVerifyResponse:
        """Score the answer; blocks for as long as the dataset takes, so it belongs in a `verify_pool`."""
        answer, marked = extract_answer(body.response.output_text)
        entry = {"question": body.question, "answer": body.answer, "metadata": body.metadata}
        scored = score(entry, answer, body.dataset_settings)
        return ReasoningGymVerifyResponse(
            **dict(body),
            reward=scored.value,
            task_name=body.metadata["source_dataset"],
            score=scored.value,
            extracted_answer=answer,
            has_answer=marked,
            complaint=scored.complaint,
        )

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k in percent, over all tasks and for each dataset."""
        return compute_pass_majority_metrics(tasks)[0] | compute_subset_metrics(tasks, "task_name")

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        means = ("mean/reward", "mean/has_answer")
        key_metrics: dict[str, Any] = {name: agent_metrics[name] for name in means if name in agent_metrics}
        for pattern in ("pass@1[avg-of-{k}]", "pass@{k}"):
            key_metrics |= highest_k_metrics(agent_metrics, pattern)
        return key_metrics


if __name__ == "__main__":
    ReasoningGymResourcesServer.run_webserver()
