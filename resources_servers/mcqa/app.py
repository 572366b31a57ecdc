"""Multiple choice: the letter that the reply chooses is compared with the expected one."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fastapi import HTTPException

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseRunRequest,
    BaseVerifyRequest,
    BaseVerifyResponse,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym_lite.reward_profile import (
    compute_pass_majority_metrics,
    compute_subset_metrics,
    highest_k_metrics,
)
from resources_servers.mcqa.grading import GradingMode, choose, choose_by_pattern
from resources_servers.mcqa.task_data import TaskData

Options = Sequence[Mapping[str, str | None]]


class MCQAResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration.

    Attributes:
        grading_mode: How all replies are read, whatever their rows say; null leaves it to the rows.
    """

    REVERIFY_MODE: ClassVar[ReverifyMode] = ReverifyMode.STATELESS

    grading_mode: GradingMode | None = None


class MCQARunRequest(TaskData, BaseRunRequest):
    """A row of the data."""


class MCQAVerifyRequest(MCQARunRequest, BaseVerifyRequest):
    """A row of the data with the model's response."""


class MCQAVerifyResponse(BaseVerifyResponse):
    """The verdict; `extracted_answer` is the letter chosen, null if the reply chooses none."""

    expected_answer: str
    extracted_answer: str | None


class MCQAResourcesServer(SimpleResourcesServer):
    """Scores 1 if the reply chooses the expected letter, else 0."""

    config: MCQAResourcesServerConfig

    async def verify(self, body: MCQAVerifyRequest) -> MCQAVerifyResponse:
        """Read the chosen letter as the row's pattern or grading mode says and compare it.

        Raises:
            HTTPException: 422, if no reply could earn a reward, which is a mistake in the data.
        """
        options = _option_texts(body.options)
        expected = (body.expected_answer or "").strip().upper()
        template = body.template_metadata or {}
        patterns = template.get("output_regex")
        if complaint := _complaint(expected, options, needs_options=not patterns):
            raise HTTPException(422, complaint)
        text = body.response.output_text.strip()
        chosen = choose_by_pattern(text, patterns, options) if patterns else None
        if chosen is None:
            mode = self.config.grading_mode or body.grading_mode
            chosen = choose(text, options, mode, template.get("answer_prefix"))
        row = dict(body) | {"expected_answer": expected}
        return MCQAVerifyResponse(**row, reward=float(chosen == expected), extracted_answer=chosen)

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k and majority@k in percent, over all tasks and for each `subject` of the rows."""
        overall = compute_pass_majority_metrics(tasks, answer_key="extracted_answer")[0]
        return overall | compute_subset_metrics(tasks, "subject", answer_key="extracted_answer")

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        names = ("mean/reward", "pass@1/accuracy")
        key_metrics = {name: agent_metrics[name] for name in names if name in agent_metrics}
        for pattern, scores in (
            ("pass@1[avg-of-{k}]", ["accuracy", "no_answer"]),
            ("pass@{k}", ["no_answer"]),
            ("majority@{k}", ["accuracy"]),
        ):
            key_metrics |= highest_k_metrics(agent_metrics, pattern, score_names=scores)
        return key_metrics


def _complaint(expected: str, options: Mapping[str, str], *, needs_options: bool) -> str:
    """Why no reply could be right; empty if one could."""
    if not expected:
        return "expected_answer is missing"
    if options and expected not in options:
        return f"expected_answer {expected!r} is none of {sorted(options)}"
    return "" if options or not needs_options else "options is empty, and template_metadata has no output_regex"


def _option_texts(options: Options | None) -> dict[str, str]:
    """Texts by capital letter; keys that are no letter, and options without text, are left out."""
    pairs = ((letter.strip().upper(), text) for option in options or () for letter, text in option.items())
    return {letter: text for letter, text in pairs if text is not None and len(letter) == 1 and letter.isalpha()}


# The names by which environments of NeMo Gym that build on this one import its parts.


def _extract_options_and_expected(body: MCQARunRequest) -> tuple[Options | None, str | None]:
    return body.options, body.expected_answer


def _get_allowed_letters_from_options(options: Options | None) -> set[str]:
    return set(_option_texts(options))


def _parse_answer_with_custom_regex(
    text: str, regex_pattern: str, allowed_letters: set[str], options: Options | None
) -> str | None:
    return choose_by_pattern(text, [regex_pattern], _option_texts(options))


if __name__ == "__main__":
    MCQAResourcesServer.run_webserver()
