"""Typed configuration that servers, environments and commands share: refs, servers, datasets, deadlines."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_HEAD_PORT = 11000

ROLLOUT_PATH_PREFIX = "ng-rollout"
"""First segment of a path that names the rollout it belongs to: `/ng-rollout/<id>/v1/responses`."""

TOKEN_CAPTURE_PATH_SEGMENT = "training-token-capture"  # noqa: S105 - a path
"""Follows the rollout's id where the calls' token ids are wanted for training."""

ServerType = Literal["responses_api_models", "resources_servers", "responses_api_agents"]


class ModelServerRef(BaseModel):
    """Names a configured model server."""

    type: Literal["responses_api_models"] = "responses_api_models"
    name: str


class ResourcesServerRef(BaseModel):
    """Names a configured resources server."""

    type: Literal["resources_servers"] = "resources_servers"
    name: str


class AgentServerRef(BaseModel):
    """Names a configured agent."""

    type: Literal["responses_api_agents"] = "responses_api_agents"
    name: str


ServerRef = Annotated[ModelServerRef | ResourcesServerRef | AgentServerRef, Field(discriminator="type")]


class Domain(StrEnum):
    """What an environment is about."""

    MATH = "math"
    CODING = "coding"
    AGENT = "agent"
    KNOWLEDGE = "knowledge"
    INSTRUCTION_FOLLOWING = "instruction_following"
    LONG_CONTEXT = "long_context"
    SAFETY = "safety"
    GAMES = "games"
    TRANSLATION = "translation"
    E2E = "e2e"
    RLHF = "rlhf"
    OTHER = "other"


DatasetLicense: TypeAlias = Literal[
    "Apache 2.0",
    "MIT",
    "Creative Commons Attribution 4.0 International",
    "Creative Commons Attribution-ShareAlike 4.0 International",
    "CC BY-SA 4.0",
    "CC BY-NC 3.0",
    "NVIDIA Internal Use Only, Do Not Distribute",
    "NVIDIA Evaluation Dataset License Agreement",
    "TBD",
    "GNU General Public License v3.0",
]
"""Licenses that NeMo Gym's configurations name."""


class GitlabSource(BaseModel):
    """A file in a model registry of GitLab."""

    type: Literal["gitlab"] = "gitlab"
    dataset_name: str
    version: str
    artifact_fpath: str


class HuggingFaceSource(BaseModel):
    """A data set on Hugging Face, or one file of it."""

    type: Literal["huggingface"] = "huggingface"
    repo_id: str
    artifact_fpath: str | None = None


DatasetSource: TypeAlias = Annotated[GitlabSource | HuggingFaceSource, Field(discriminator="type")]


class DatasetConfig(BaseModel):
    """One data file of an agent, as a `datasets:` entry names it.

    Attributes:
        name: What people call it.
        type: What it is for.
        jsonl_fpath: The file, looked for in the search roots.
        num_repeats: How often each row is written when the data is prepared.
        license: Needed where a model is trained or validated with it.
        source: Where the file comes from.
        gitlab_identifier: The older name of a `source` of type gitlab.
        huggingface_identifier: The older name of a `source` of type huggingface.
        prepare_script: A benchmark's script that makes the file.
        prompt_config: A template that makes the prompts of its rows.
    """

    name: str
    type: Literal["train", "validation", "example", "benchmark"]
    jsonl_fpath: str
    num_repeats: int = Field(default=1, ge=1)
    license: DatasetLicense | None = None
    source: DatasetSource | None = None
    gitlab_identifier: GitlabSource | None = None
    huggingface_identifier: HuggingFaceSource | None = None
    prepare_script: str | None = None
    prompt_config: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.type in {"train", "validation"} and self.license is None:
            raise ValueError(f"dataset {self.name!r} of type {self.type} needs a license, or TBD")
        older = self.gitlab_identifier or self.huggingface_identifier
        if self.source is not None and older is not None and self.source != older:
            raise ValueError(f"dataset {self.name!r} names its origin twice; keep `source`")
        self.source = self.source or older
        if isinstance(self.source, GitlabSource):
            self.gitlab_identifier = self.source
        elif self.source is not None:
            self.huggingface_identifier = self.source
        return self


class BenchmarkDatasetConfig(DatasetConfig):
    """A data file that a script of the benchmark makes."""

    type: Literal["benchmark"] = "benchmark"
    prepare_script: str


class BaseServerConfig(BaseModel):
    """Where a server listens."""

    host: str
    port: int
    num_workers: int | None = None


class HeadServerConfig(BaseServerConfig):
    """Where the head server listens."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_HEAD_PORT


class BaseRunServerConfig(BaseServerConfig):
    """A server that runs a file of its implementation's directory."""

    entrypoint: str
    domain: Domain | None = None


class BaseRunServerInstanceConfig(BaseRunServerConfig):
    """A server with the name under which others refer to it."""

    name: str


class Deadlines(BaseModel):
    """When a wait ends, in seconds. Each one that passes gives the failure class `timeout`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_s: float = Field(default=10.0, gt=0, description="one connection, refusals included")
    first_byte_s: float | None = Field(default=None, gt=0, description="a model's first byte; off by default")
    call_s: float = Field(default=600.0, gt=0, description="one model call, one attempt")
    tool_s: float = Field(default=120.0, gt=0, description="one tool call, or seeding one session")
    verify_s: float = Field(default=300.0, gt=0, description="one check")
    episode_s: float = Field(default=3600.0, gt=0, description="one rollout from start to reward")


class VerifyPool(BaseModel):
    """Processes in which checks run, so that one that spins, crashes or takes all memory fails alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int = Field(default=2, ge=1, description="checks at once; slow ones make room for others meanwhile")
    memory_mb: int = Field(default=2048, ge=256, description="what one check may use beyond the loaded environment")
    timeout_s: float | None = Field(default=None, gt=0, description="seconds for one check; null: `deadlines.verify_s`")


class AggregateMetricsRequest(BaseModel):
    """Rows of one agent, stripped of prompts and responses."""

    verify_responses: list[dict[str, Any]]


class AggregateMetrics(BaseModel):
    """What an environment makes of its rows."""

    group_level_metrics: list[dict[str, Any]] = Field(default_factory=list)
    agent_metrics: dict[str, Any] = Field(default_factory=dict)
    key_metrics: dict[str, Any] = Field(default_factory=dict)


class BaseNeMoGymCLIConfig(BaseModel):
    """Base of a command's options."""
