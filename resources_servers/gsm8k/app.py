"""Grade-school math: the final number is compared with the expected one, exactly."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym_lite.reward_profile import compute_pass_majority_metrics, highest_k_metrics
from resources_servers.gsm8k.answers import extract_answer, parse_number


def _check_number(answer: str) -> str:
    if parse_number(answer) is None:
        raise ValueError(f"expected_answer is not one number: {answer!r}")
    return answer


class GSM8KResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration; there is nothing to set."""


class GSM8KVerifyRequest(BaseVerifyRequest):
    """A row of the data with the model's response."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    expected_answer: Annotated[str, AfterValidator(_check_number)]


class GSM8KVerifyResponse(BaseVerifyResponse):
    """The verdict; `extracted_answer` is the number as a reduced fraction (`42`, `-7/2`), null if none."""

    expected_answer: str
    extracted_answer: str | None
    has_answer: bool


class GSM8KResourcesServer(SimpleResourcesServer):
    """Scores the number in the last `\\boxed{}` (or after `####`): 1 if it is the expected one, else 0."""

    config: GSM8KResourcesServerConfig

    async def verify(self, body: GSM8KVerifyRequest) -> GSM8KVerifyResponse:
        """Compare two rationals; `0.5`, `1/2` and `.50` are the same answer."""
        answer = extract_answer(body.response.output_text)
        return GSM8KVerifyResponse(
            **dict(body),
            reward=float(answer is not None and answer == parse_number(body.expected_answer)),
            extracted_answer=None if answer is None else str(answer),
            has_answer=answer is not None,
        )

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k and majority@k in percent; `tasks` holds each task's rows."""
        return compute_pass_majority_metrics(tasks, answer_key="extracted_answer")[0]

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        means = ("mean/reward", "mean/has_answer")
        key_metrics: dict[str, Any] = {name: agent_metrics[name] for name in means if name in agent_metrics}
        for pattern in ("pass@1[avg-of-{k}]", "pass@{k}", "majority@{k}"):
            key_metrics |= highest_k_metrics(agent_metrics, pattern, exclude_names=["no_answer"])
        return key_metrics


if __name__ == "__main__":
    GSM8KResourcesServer.run_webserver()
