"""What comes of a rollout: one line of the output or of the sidecar, whole and ready to be written."""

import math
from dataclasses import dataclass
from typing import Any

import orjson

from nemo_gym_lite.arms.arm import ARM, ARM_LABEL
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.row_fields import (
    ATTEMPT_INDEX,
    FAILURE_CAUSE,
    FAILURE_CLASS,
    FAILURE_MESSAGE,
    FAILURE_TERMINAL,
    JUDGE_ERROR,
    KEY,
    NO_PERSIST,
    ROLLOUT_INDEX,
    TASK_INDEX,
)

Json = dict[str, Any]

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and what its reader counts.

    Attributes:
        data: The line with its newline.
        facts: The row, or at least its labels, numbers and `usage`.
        failure_class: None for a scored rollout; a failure goes to the sidecar.
        message: What went wrong.
        terminal: Another try would fail in the same way.
    """

    data: bytes
    facts: Json
    failure_class: str | None = None
    message: str = ""
    terminal: bool = False


def delivered(spec: Spec, fields: Json, attempts: int = 0, *, scored: bool = True) -> Line:
    """The line of a rollout that was played to its end; unless `scored`, it needs no reward, as a check comes later.

    Raises:
        FailedCallError: The agent says that it failed, or there is no reward that could be kept.
    """
    usage = (fields.get("response") or {}).get("usage")
    if problem := _problem(fields, scored):
        kept = {"usage": usage}
        if not fields.get(NO_PERSIST):  # a response ends the task as asked, what else the agent tells comes after it
            told = {name: value for name, value in fields.items() if name not in ("reward", FAILURE_CLASS)}
            kept = {"response": fields.get("response"), "usage": usage} | told
        problem.played = {name: value for name, value in kept.items() if value}
        raise problem
    row = {**spec.row, **fields}
    if usage is not None:
        row["usage"] = usage
    row |= labels(spec, attempts)
    return Line(orjson.dumps(row, option=_OPTIONS), row)


def _problem(fields: Json, scored: bool) -> FailedCallError | None:
    """Why a rollout that was played to its end cannot be kept; None if it can."""
    if problem := fields.get(FAILURE_CLASS):
        message = str(fields.get(JUDGE_ERROR) or fields.get(FAILURE_MESSAGE) or fields.get("error") or "")
        return FailedCallError(str(problem), message, terminal=bool(fields.get(FAILURE_TERMINAL)))
    reward = fields.get("reward")
    if scored and (not isinstance(reward, int | float) or not math.isfinite(reward)):
        return FailedCallError("verify_failed", f"the environment gave no finite reward but {reward!r}")
    if fields.get(NO_PERSIST):
        return FailedCallError("not_persisted", "the environment asked not to keep this rollout")
    return None


def failed(spec: Spec, error: FailedCallError, attempts: int = 0) -> Line:
    """The line of a rollout that failed, with what it had so far."""
    message = str(error).encode(errors="backslashreplace").decode()  # a lone surrogate cannot be written
    row = {**spec.row, **error.played, **labels(spec, attempts)}
    row |= {FAILURE_CLASS: error.failure_class, FAILURE_MESSAGE: message}
    if error.cause:
        row[FAILURE_CAUSE] = error.cause
    if error.terminal:
        row[FAILURE_TERMINAL] = True
    return Line(orjson.dumps(row, option=_OPTIONS), row, error.failure_class, message, error.terminal)


def labels(spec: Spec, attempts: int = 0) -> Json:
    """The fields by which a line is known."""
    fields: Json = {
        "agent_ref": {"type": "responses_api_agents", "name": spec.agent_name},
        TASK_INDEX: spec.task_index,
        ROLLOUT_INDEX: spec.rollout_index,
        KEY: spec.key,
    }
    if attempts:
        fields[ATTEMPT_INDEX] = attempts
    if ARM_LABEL in spec.row:
        fields |= {ARM: spec.row[ARM], ARM_LABEL: spec.row[ARM_LABEL]}
    return fields
