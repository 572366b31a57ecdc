"""What a run may rely on about an output that an earlier one left."""

import orjson
import pytest

from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.plan import PlanSettings, Task, plan
from nemo_gym_lite.rollouts.resume import scan


def specs(count):
    rows = ({"responses_create_params": {"input": f"question {n}"}} for n in range(count))
    return list(plan((Task(line, row) for line, row in enumerate(rows, 1)), PlanSettings("a")))


def written(path, found, **fields):
    with path.open("ab") as file:
        for spec in found:
            labels = {"_ng_key": spec.key, "_ng_rollout_index": spec.rollout_index, "_ng_task_index": spec.task_index}
            row = {**spec.row, "agent_ref": {"name": spec.agent_name}, **labels, **fields}
            file.write(orjson.dumps(row) + b"\n")


@pytest.fixture
def files(tmp_path):
    return OutputFiles(tmp_path / "out.jsonl")


def test_a_rollout_is_given_up_once_it_failed_as_often_as_it_may(files):
    often, seldom, final, fresh = found = specs(4)
    written(files.failures, [often, often, often, seldom, seldom])
    written(files.failures, [final], _ng_failure_terminal=True)

    done = scan(files, lambda _: None, max_attempts=3)
    patient = scan(files, lambda _: None, max_attempts=4)

    assert [done.attempts(spec) for spec in found] == [3, 2, 1, 0]
    assert [spec for spec in found if done.owed(spec)] == [seldom, fresh]
    assert [spec for spec in found if patient.owed(spec)] == [often, seldom, fresh]


def test_a_rollout_that_was_delivered_after_failures_is_delivered_and_not_given_up(files):
    [spec] = specs(1)
    written(files.failures, [spec] * 3)
    written(files.rollouts, [spec], reward=1.0)

    done = scan(files, lambda _: None, max_attempts=3)

    assert done.delivered(spec)
    assert not done.owed(spec)


def test_an_outage_of_the_endpoints_is_no_attempt_however_often_the_command_is_run_again(files):
    [spec] = specs(1)
    written(files.failures, [spec] * 5, _ng_failure_class="unreachable")
    written(files.failures, [spec] * 5, _ng_failure_class="server_error", _ng_failure_cause="no_endpoint")

    assert scan(files, lambda _: None, max_attempts=3).owed(spec)
