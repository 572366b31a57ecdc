"""Short answers: a judge model says whether the reply means the same as the expected answer."""

import asyncio
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, PrivateAttr, model_validator

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseRunRequest,
    BaseVerifyRequest,
    BaseVerifyResponse,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym_lite.config.roots import locations
from nemo_gym_lite.config_types import ModelServerRef
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.judge import call_judge, reraise_judge_errors
from nemo_gym_lite.openai_utils import (
    NeMoGymEasyInputMessage,
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
)
from nemo_gym_lite.reward_profile import compute_pass_majority_metrics, compute_subset_metrics, highest_k_metrics
from resources_servers.equivalence_llm_judge.verdicts import extract, first_label, last_message


class LLMJudgeResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration.

    Attributes:
        judge_model_server: The model that judges.
        judge_responses_create_params: How it is asked; `input` is put in.
        judge_endpoint_max_concurrency: Calls to the judge at once; null is no limit.
        judge_timeout_s: Seconds that one call may take.
        judge_system_message: What the judge is told first.
        judge_prompt_template_fpath: File with `{question}`, `{expected_answer}` and `{generated_answer}`; relative to
            this folder or a search root.
        judge_equal_label: What the judge says if both mean the same.
        judge_not_equal_label: What it says if they do not.
        question_extract_regex: Where the question is in the last user message; null shows all of it.
        response_extract_regex: Where the answer is in the reply; null shows all of it.
        check_twice_swap: Ask again with both answers in each other's place, if the first verdict is "the same".
        reward_if_swap_fails: Reward if the second verdict is another.
        use_per_record_regex: Whether a row's `template_metadata.output_regex` goes before `response_extract_regex`.
        extraction_length_threshold: Expected answers of more characters are compared with the whole reply, in one
            call, whatever the row's regex; null has no such limit.
        check_full_generation_on_fail: Where the row's own regex found something else, ask about the whole reply, too.
        reward_if_full_generation_succeeds: Reward if that means the same.
    """

    REVERIFY_MODE: ClassVar[ReverifyMode] = ReverifyMode.STATELESS

    name: str = "equivalence_llm_judge"
    judge_model_server: ModelServerRef
    judge_responses_create_params: NeMoGymResponseCreateParamsNonStreaming
    judge_endpoint_max_concurrency: PositiveInt | None = 64
    judge_timeout_s: PositiveFloat = 120.0
    judge_system_message: str | None = None
    judge_prompt_template_fpath: str = "prompt_templates/equivalence_llm_judge.txt"
    judge_equal_label: str = "[[A=B]]"
    judge_not_equal_label: str = "[[A!=B]]"
    question_extract_regex: str | None = None
    response_extract_regex: str | None = None
    check_twice_swap: bool = False
    reward_if_swap_fails: float = 0.0
    use_per_record_regex: bool = True
    extraction_length_threshold: int | None = 120
    check_full_generation_on_fail: bool = True
    reward_if_full_generation_succeeds: float = 0.5


class LLMJudgeRunRequest(BaseRunRequest):
    """A row of the data; `expected_answer` may also stand in `metadata`."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    uuid: str | None = None
    expected_answer: str | None = None
    options: list[dict[str, str]] | None = None
    metadata: dict[str, Any] | None = None
    template_metadata: dict[str, Any] | None = None

    @property
    def output_regex(self) -> str | None:
        """Where the row's own answers are found."""
        return (self.template_metadata or {}).get("output_regex")

    @model_validator(mode="after")
    def _expect_an_answer(self) -> "LLMJudgeRunRequest":
        # a row that cannot be judged is a mistake in the data and no reward of 0
        if not self.expected_answer:
            self.expected_answer = str((self.metadata or {}).get("expected_answer") or "")
        if not self.expected_answer:
            raise ValueError("expected_answer is missing")
        try:
            re.compile(self.output_regex or "")
        except re.error as error:
            raise ValueError(f"template_metadata.output_regex {self.output_regex!r}: {error}") from error
        return self


class LLMJudgeVerifyRequest(LLMJudgeRunRequest, BaseVerifyRequest):
    """A row of the data with the model's response."""


class JudgeEvaluation(BaseModel):
    """One call of the judge; `verdict_label` is null if it said neither label."""

    responses_create_params: NeMoGymResponseCreateParamsNonStreaming
    response: NeMoGymResponse
    verdict_label: str | None = None


class LLMJudgeVerifyResponse(BaseVerifyResponse):
    """The verdict; `judge_unclear` tells that a call of the judge ended without a label."""

    expected_answer: str
    extracted_answer: str | None
    judge_unclear: bool
    judge_evaluations: list[JudgeEvaluation]


class LLMJudgeResourcesServer(SimpleResourcesServer):
    """Scores 1 if the judge says that reply and expected answer mean the same, else 0."""

    config: LLMJudgeResourcesServerConfig

    _template: str = PrivateAttr()
    _calls: Any = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Read the prompt.

        Raises:
            ConfigError: The prompt or a regular expression of the configuration is none.
        """
        super().model_post_init(context)
        for regex in (self.config.question_extract_regex, self.config.response_extract_regex):
            try:
                re.compile(regex or "")
            except re.error as error:
                raise ConfigError(f"{self.config.name}: {regex!r} is no regular expression: {error}") from error
        self._template = _read_template(self.config.judge_prompt_template_fpath)
        most = self.config.judge_endpoint_max_concurrency
        self._calls = asyncio.Semaphore(most) if most else nullcontext()

    async def verify(self, body: LLMJudgeVerifyRequest) -> LLMJudgeVerifyResponse:
        """Ask the judge, and a second time where the configuration wants to be sure.

        Raises:
            JudgeError: A call failed, which says nothing about the reply.
        """
        config, expected = self.config, body.expected_answer or ""
        own_regex = body.output_regex if config.use_per_record_regex else None
        most = config.extraction_length_threshold
        too_long = bool(own_regex) and most is not None and len(expected) > most
        whole = _last_text(body.response)
        if not whole:
            return self._scored(body, 0.0, None, [])
        answer = extract(whole, None if too_long else own_regex or config.response_extract_regex)
        question = extract(_question(body.responses_create_params), config.question_extract_regex)
        equal, judged = await self._generate_judge_evaluation(
            question=question, expected_answer=expected, generated_answer=answer
        )
        reward, evaluations = float(equal), [judged]
        if equal and config.check_twice_swap and not too_long:
            again, judged = await self._generate_judge_evaluation(
                question=question, expected_answer=answer, generated_answer=expected
            )
            reward, evaluations = (1.0 if again else config.reward_if_swap_fails), [*evaluations, judged]
        elif not equal and own_regex and config.check_full_generation_on_fail and not too_long and answer != whole:
            again, judged = await self._generate_judge_evaluation(
                question=question, expected_answer=expected, generated_answer=whole
            )
            reward = config.reward_if_full_generation_succeeds if again else 0.0
            evaluations = [*evaluations, judged]
        return self._scored(body, reward, answer, evaluations)

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k in percent, over all tasks and for each `subject` of the rows."""
        overall = compute_pass_majority_metrics(tasks, _scores)[0]
        return overall | compute_subset_metrics(tasks, "subject", _scores)

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        key_metrics = {name: agent_metrics[name] for name in ("mean/reward",) if name in agent_metrics}
        for pattern in ("pass@1[avg-of-{k}]", "pass@{k}"):
            key_metrics |= highest_k_metrics(agent_metrics, pattern)
        return key_metrics

    async def _generate_judge_evaluation(
        self, *, question: str, expected_answer: str, generated_answer: str
    ) -> tuple[bool, JudgeEvaluation]:
        config = self.config
        prompt = self._template.format(
            question=question, expected_answer=expected_answer, generated_answer=generated_answer
        )
        messages = [NeMoGymEasyInputMessage(role="user", content=prompt)]
        if config.judge_system_message:
            messages.insert(0, NeMoGymEasyInputMessage(role="system", content=config.judge_system_message))
        params = config.judge_responses_create_params.model_copy(update={"input": messages}, deep=True)
        async with self._calls:
            call = call_judge(
                self.server_client,
                server_name=config.judge_model_server.name,
                url_path="/v1/responses",
                json=params,
                response_model=NeMoGymResponse,
            )
            response = await reraise_judge_errors(asyncio.wait_for(call, config.judge_timeout_s))
        said = last_message(response) or ""
        label = first_label(said, (config.judge_equal_label, config.judge_not_equal_label))
        judged = JudgeEvaluation(responses_create_params=params, response=response, verdict_label=label)
        return label == config.judge_equal_label, judged

    @staticmethod
    def _scored(
        body: LLMJudgeVerifyRequest, reward: float, answer: str | None, evaluations: list[JudgeEvaluation]
    ) -> LLMJudgeVerifyResponse:
        return LLMJudgeVerifyResponse(
            **dict(body),
            reward=reward,
            extracted_answer=answer,
            judge_unclear=any(judged.verdict_label is None for judged in evaluations),
            judge_evaluations=evaluations,
        )


def _read_template(path: str) -> str:
    places = [Path(__file__).parent / path, *locations(Path(path))]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        searched = "\n".join(f"  {place}" for place in places)
        raise ConfigError(f"judge_prompt_template_fpath: no file {path}; searched\n{searched}")
    template = found.read_text().strip()
    try:
        template.format(question="", expected_answer="", generated_answer="")
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(
            f"judge_prompt_template_fpath: {path} is no template: {error!r}",
            "it may hold {question}, {expected_answer} and {generated_answer}; other braces are written twice",
        ) from error
    return template


def _last_text(response: NeMoGymResponse) -> str:
    """The text of the last message, its parts on lines of their own."""
    last = next((item for item in reversed(response.output) if item.type == "message"), None)
    parts = (getattr(part, "text", None) for part in getattr(last, "content", ()))
    return "\n".join(part for part in parts if part).strip()


def _question(params: NeMoGymResponseCreateParamsNonStreaming) -> str:
    """The text of the last user message."""
    if isinstance(params.input, str):
        return params.input
    asked = [getattr(item, "content", "") for item in params.input if getattr(item, "role", None) == "user"]
    content = asked[-1] if asked else ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _scores(row: dict[str, Any]) -> dict[str, float]:
    return {"accuracy": float(row.get("reward") or 0.0)}


if __name__ == "__main__":
    LLMJudgeResourcesServer.run_webserver()
