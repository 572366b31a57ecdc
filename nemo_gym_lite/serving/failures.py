"""How a failure crosses an HTTP hop and keeps its class: one JSON body, written here and read here."""

from typing import Any

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import FailedCallError, JudgeError
from nemo_gym_lite.row_fields import FAILURE_CLASS, JUDGE_ERROR

ECHO = frozenset({"responses_create_params", "response"})
"""What a verify reply repeats of its request; the caller has it already."""

_STATUS = {"rate_limited": 429, "bad_request": 400, "timeout": 504}
_SHOWN_CHARS = 500


def status_of(error: FailedCallError) -> int:
    """HTTP status under which `error` is replied."""
    return _STATUS.get(error.failure_class, 502)


def error_body(error: FailedCallError) -> bytes:
    """`error` as the JSON body of a reply."""
    details = {"class": error.failure_class, "message": error.message, "hint": error.hint, "terminal": error.terminal}
    details |= {name: value for name, value in (("cause", error.cause), ("played", error.played)) if value}
    return orjson.dumps({"error": details})


def failure_of(status: int, body: bytes, otherwise: str, what: str) -> FailedCallError:
    """The failure that a reply to `what` (say `verify of gsm8k`) reports, of the class `otherwise` if it names none."""
    details = json_of(body).get("error")
    if isinstance(details, dict) and "class" in details:
        failure = FailedCallError(
            str(details["class"]),
            str(details.get("message", "")),
            str(details.get("hint", "")),
            terminal=bool(details.get("terminal")),
            cause=str(details.get("cause") or ""),
        )
        played = details.get("played")
        failure.played = played if isinstance(played, dict) else {}
        return failure
    shown = body[:_SHOWN_CHARS].decode(errors="replace")
    # A body that does not validate is the row's own fault, so no later run has to try it again.
    return FailedCallError(otherwise, f"{what} answered {status}: {shown}", terminal=status == 422)


def object_of(status: int, body: bytes, otherwise: str, what: str) -> Json:
    """The JSON object of a reply to `what`, empty if it is none.

    Raises:
        FailedCallError: The reply is an error.
    """
    if status != 200:
        raise failure_of(status, body, otherwise, what)
    return json_of(body)


def verdict_of(status: int, body: bytes, what: str) -> Json:
    """The environment's fields in a verify reply, without the echo of the request.

    Raises:
        FailedCallError: The reply is an error, or no verdict.
    """
    verdict = object_of(status, body, "verify_failed", what)
    if "reward" not in verdict:
        shown = body[:_SHOWN_CHARS].decode(errors="replace")
        raise FailedCallError("verify_failed", f"{what} gave no reward: {shown}")
    if verdict.get(FAILURE_CLASS) == "judge_failed":
        raise JudgeError(str(verdict.get(JUDGE_ERROR, "a judge's call failed")))
    for field in ECHO:
        verdict.pop(field, None)
    return verdict


def json_of(body: bytes) -> Json:
    """`body` as a JSON object; empty if it is none."""
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
