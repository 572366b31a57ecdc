"""Structured outputs: the reply is a JSON, YAML or TOML document that must satisfy the row's JSON schema."""

from collections import Counter
from typing import Any, ClassVar, Literal

from fastapi import HTTPException
from pydantic import field_validator

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
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
from resources_servers.structured_outputs.documents import SchemaType, read_document, unfenced
from resources_servers.structured_outputs.schemas import complaint, shown, validator_of, wrong_value

GradingMode = Literal["strict", "lenient"]
ErrorType = Literal["empty_response", "parse_error", "validation_error", "wrong_value"]


class StructuredOutputsResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration.

    Attributes:
        grading_mode: How the document is found in all replies, whatever their rows say; null leaves it to the rows.
    """

    REVERIFY_MODE: ClassVar[ReverifyMode] = ReverifyMode.STATELESS

    grading_mode: GradingMode | None = None


class StructuredOutputsVerifyRequest(BaseVerifyRequest):
    """A row of the data with the model's response.

    Attributes:
        schema_str: The JSON schema, as JSON.
        schema_type: What the document is written in.
        strict_schema: Whether each property that an object names is required, and no others are allowed.
        grading_mode: `strict`: the reply is the document and nothing else; `lenient`: its last fenced block may be.
        expected_values: Properties that the document must have with these values.
        response_mode: Where the document is; only in the text.
    """

    schema_str: str
    schema_type: SchemaType = SchemaType.JSON
    strict_schema: bool = True
    grading_mode: GradingMode = "strict"
    expected_values: dict[str, Any] | None = None
    response_mode: Literal["text"] = "text"

    @field_validator("schema_str")
    @classmethod
    def _expect_a_schema(cls, schema_str: str) -> str:
        # no reply could satisfy another one, which is a mistake in the data and no reward of 0
        validator_of(schema_str, strict=False)
        return schema_str


class StructuredOutputsVerifyResponse(BaseVerifyResponse):
    """The verdict; `error_type` and `error_message` say what is wrong, null if nothing is."""

    schema_str: str
    schema_type: SchemaType
    schema_valid: bool
    error_type: ErrorType | None = None
    error_message: str | None = None


class StructuredOutputsResourcesServer(SimpleResourcesServer):
    """Scores 1 if the document satisfies the schema and has the expected values, else 0."""

    config: StructuredOutputsResourcesServerConfig

    async def verify(self, body: StructuredOutputsVerifyRequest) -> StructuredOutputsVerifyResponse:
        """Read the document and check it.

        Raises:
            HTTPException: 422, if the schema refers to what is not in it.
        """
        try:
            error_type, message = self._find_fault(body)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        return StructuredOutputsVerifyResponse(
            **dict(body),
            reward=float(error_type is None),
            schema_valid=error_type in {None, "wrong_value"},
            error_type=error_type,
            error_message=message or None,
        )

    def _find_fault(self, body: StructuredOutputsVerifyRequest) -> tuple[ErrorType | None, str]:
        text = body.response.output_text.strip()
        if not text:
            return "empty_response", "the reply has no text"
        mode = self.config.grading_mode or body.grading_mode
        try:
            value = read_document(unfenced(text) if mode == "lenient" else text, body.schema_type)
        except ValueError as error:
            return "parse_error", shown(str(error))
        if invalid := complaint(value, validator_of(body.schema_str, strict=body.strict_schema)):
            return "validation_error", invalid
        if wrong := wrong_value(value, body.expected_values) if body.expected_values else "":
            return "wrong_value", wrong
        return None, ""

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k in percent, over all tasks and for each `schema_type`, and the share of each error."""
        errors = Counter(row.get("error_type") for task in tasks for row in task)
        shares = {f"errors/{name}": 100 * count / errors.total() for name, count in errors.items() if name}
        overall = compute_pass_majority_metrics(tasks)[0]
        return overall | compute_subset_metrics(tasks, "schema_type") | shares

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        means = ("mean/reward", "mean/schema_valid")
        key_metrics: dict[str, Any] = {name: agent_metrics[name] for name in means if name in agent_metrics}
        for pattern in ("pass@1[avg-of-{k}]", "pass@{k}"):
            key_metrics |= highest_k_metrics(agent_metrics, pattern)
        return key_metrics


if __name__ == "__main__":
    StructuredOutputsResourcesServer.run_webserver()
