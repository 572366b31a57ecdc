"""Multiple choice: the letter that the reply chooses is compared with the expected one."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym_lite.reward_profile import (
    compute_pass_majority_metrics,
    compute_subset_metrics,
    highest_k_metrics,
)
from resources_servers.mcqa.grading import GradingMode, choose

Letter = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, pattern="^[A-Za-z]$")]


class MCQAResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration; there is nothing to set."""


class MCQAVerifyRequest(BaseVerifyRequest):
    """A row of the data with the model's response; `options` is a list of `{"A": "text of option A"}`."""

    options: list[dict[Letter, str]] = Field(min_length=1)
    expected_answer: Letter
    grading_mode: GradingMode = "strict_single_letter_boxed"

    @property
    def option_texts(self) -> dict[str, str]:
        """The options as one mapping from letter to text."""
        return {letter: text for option in self.options for letter, text in option.items()}

    @model_validator(mode="after")
    def _expect_an_option(self) -> "MCQAVerifyRequest":
        # a wrong key would make every reply wrong, which is a mistake in the data and no reward of 0
        if self.expected_answer not in self.option_texts:
            raise ValueError(f"expected_answer {self.expected_answer!r} is none of {sorted(self.option_texts)}")
        return self


class MCQAVerifyResponse(BaseVerifyResponse):
    """The verdict; `extracted_answer` is the letter chosen, null if the reply chooses none."""

    expected_answer: str
    extracted_answer: str | None
    has_answer: bool


class MCQAResourcesServer(SimpleResourcesServer):
    """Scores 1 if the reply chooses the expected letter, else 0."""

    config: MCQAResourcesServerConfig

    async def verify(self, body: MCQAVerifyRequest) -> MCQAVerifyResponse:
        """Read the chosen letter as the row's grading mode says and compare it."""
        chosen = choose(body.response.output_text, body.option_texts, body.grading_mode)
        return MCQAVerifyResponse(
            **dict(body),
            reward=float(chosen == body.expected_answer),
            extracted_answer=chosen,
            has_answer=chosen is not None,
        )

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k and majority@k in percent, over all tasks and for each `subject` of the rows."""
        overall = compute_pass_majority_metrics(tasks, answer_key="extracted_answer")[0]
        return overall | compute_subset_metrics(tasks, "subject", answer_key="extracted_answer")

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        means = ("mean/reward", "mean/has_answer")
        key_metrics: dict[str, Any] = {name: agent_metrics[name] for name in means if name in agent_metrics}
        for pattern in ("pass@1[avg-of-{k}]", "pass@{k}", "majority@{k}"):
            key_metrics |= highest_k_metrics(agent_metrics, pattern, exclude_names=["no_answer"])
        return key_metrics


if __name__ == "__main__":
    MCQAResourcesServer.run_webserver()
