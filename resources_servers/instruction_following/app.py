"""Instruction following: the reply must follow constraints that a program can verify."""

from collections import defaultdict
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseRunRequest,
    BaseVerifyRequest,
    BaseVerifyResponse,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.reward_profile import compute_pass_majority_metrics, highest_k_metrics
from resources_servers.instruction_following.constraints import KINDS, Kind, Parameters

GradingMode = Literal["binary", "fraction"]


class Constraint(BaseModel):
    """One constraint of a row; what its kind takes stands beside `kind`."""

    model_config = ConfigDict(extra="allow")

    kind: str

    _known: Kind = PrivateAttr()
    _given: Parameters = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Look the kind up and read what it takes.

        Raises:
            ValueError: There is no such kind, or it takes something else, which is a mistake in the data.
        """
        known = KINDS.get(self.kind)
        if known is None:
            raise ValueError(f"unknown kind {self.kind!r}; {did_you_mean(self.kind, KINDS, 'see the README')}")
        try:
            self._given = known.parameters.model_validate(self.model_extra)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, each['loc']))} {each['msg']}".strip() for each in error.errors())
            raise ValueError(f"{self.kind}: {wrong}") from error
        self._known = known

    def is_followed(self, text: str) -> bool:
        """Whether `text` follows it; a text without anything follows none."""
        return bool(text.strip()) and self._known.is_followed(text, self._given)


class InstructionFollowingResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration.

    Attributes:
        grading_mode: How all replies are scored, whatever their rows say; null leaves it to the rows.
    """

    REVERIFY_MODE: ClassVar[ReverifyMode] = ReverifyMode.STATELESS

    grading_mode: GradingMode | None = None


class InstructionFollowingRunRequest(BaseRunRequest):
    """A row of the data.

    Attributes:
        constraints: What the reply must follow.
        grading_mode: `binary`: reward 1 if all are followed, else 0; `fraction`: the share that is followed.
    """

    constraints: list[Constraint] = Field(min_length=1)
    grading_mode: GradingMode = "binary"


class InstructionFollowingVerifyRequest(InstructionFollowingRunRequest, BaseVerifyRequest):
    """A row of the data with the model's response."""


class InstructionFollowingVerifyResponse(BaseVerifyResponse):
    """The verdict; `follow_instruction_list` has one entry for each constraint, in their order."""

    constraints: list[Constraint]
    follow_all_instructions: bool
    follow_instruction_list: list[bool]
    fraction_followed: float


class InstructionFollowingResourcesServer(SimpleResourcesServer):
    """Scores 1 if the reply follows all constraints, else 0; or the share that it follows."""

    config: InstructionFollowingResourcesServerConfig

    async def verify(self, body: InstructionFollowingVerifyRequest) -> InstructionFollowingVerifyResponse:
        """Check each constraint on the whole text of the reply."""
        text = body.response.output_text
        followed = [constraint.is_followed(text) for constraint in body.constraints]
        fraction = sum(followed) / len(followed)
        mode = self.config.grading_mode or body.grading_mode
        return InstructionFollowingVerifyResponse(
            **dict(body),
            reward=fraction if mode == "fraction" else float(all(followed)),
            follow_all_instructions=all(followed),
            follow_instruction_list=followed,
            fraction_followed=fraction,
        )

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k in percent of all constraints and of their share, and the share of each kind."""
        followed: dict[str, list[bool]] = defaultdict(list)
        for row in (row for task in tasks for row in task):
            for constraint, result in zip(row["constraints"], row["follow_instruction_list"], strict=True):
                followed[constraint["kind"]].append(result)
        by_kind = {f"followed/{kind}": 100 * sum(results) / len(results) for kind, results in followed.items()}
        return compute_pass_majority_metrics(tasks, _scores)[0] | by_kind

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        means = ("mean/reward", "mean/fraction_followed")
        key_metrics: dict[str, Any] = {name: agent_metrics[name] for name in means if name in agent_metrics}
        for pattern in ("pass@1[avg-of-{k}]", "pass@{k}"):
            key_metrics |= highest_k_metrics(agent_metrics, pattern, score_names=["accuracy"])
        return key_metrics


def _scores(row: dict[str, Any]) -> dict[str, float]:
    return {"accuracy": row["follow_all_instructions"], "fraction_followed": row["fraction_followed"]}


if __name__ == "__main__":
    InstructionFollowingResourcesServer.run_webserver()
