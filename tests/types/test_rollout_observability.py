"""What an agent's observations must be, to be of use."""

import pytest
from pydantic import ValidationError

from nemo_gym_lite.rollout_observability import (
    AgentInvocation,
    AgentObservationBundle,
    ModelCallRef,
    SandboxObservation,
    ToolCallObservation,
)


def test_observations_are_read_back_by_their_kind():
    records = [
        AgentInvocation(invocation_id="a", model_calls=[ModelCallRef(model_call_id="m")]),
        ToolCallObservation(invocation_id="a", tool_call_id="t", started_at=1.0, completed_at=1.0),
        SandboxObservation(role="agent", cpu_time_s=0.5),
    ]
    bundle = AgentObservationBundle(source="harness", records=records)

    assert AgentObservationBundle.model_validate_json(bundle.model_dump_json()) == bundle


def test_a_call_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValidationError, match="before started_at"):
        ToolCallObservation(invocation_id="a", tool_call_id="t", started_at=2.0, completed_at=1.0)


def test_a_model_call_that_nobody_can_find_is_refused():
    for names in ({}, {"response_id": "r"}, {"model_ref": {"name": "policy_model"}}):
        with pytest.raises(ValidationError, match="is named by"):
            ModelCallRef(**names)


def test_two_invocations_cannot_have_one_name():
    twice = [AgentInvocation(invocation_id="a")] * 2

    with pytest.raises(ValidationError, match="two invocations"):
        AgentObservationBundle(source="harness", records=twice)


def test_what_is_assigned_later_is_checked_too():
    invocation = AgentInvocation(invocation_id="a")

    with pytest.raises(ValidationError):
        invocation.status = "odd"
