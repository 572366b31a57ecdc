"""Two models at different endpoints: who is asked what, and what happens while the judge is away."""

import json

import pytest

from responses_api_models.simulated_model.server import running_engine
from responses_api_models.simulated_model.settings import EngineSettings
from tests.collect.workspace import VLLM, Workspace, identities

JUDGE = "responses_api_models/vllm_model/configs/vllm_judge_model.yaml"
PLACED = {"equivalence_llm_judge": "far", "math_with_judge_judged": "near"}
IMPATIENT = "++judge_model.responses_api_models.vllm_model.routing={attempts: 1, patience_s: 0.2}"
COUNT = 6


@pytest.fixture
async def engines():
    """The policy's engine, and the judge's, which finds everything equal."""
    async with running_engine(EngineSettings()) as policy, running_engine(EngineSettings(accuracy=1.0)) as judge:
        yield policy, judge


@pytest.fixture
def user(request, engines, tmp_path):
    """A workspace whose tasks no check but a judge's can call right."""
    workspace = Workspace(tmp_path)
    policy, judge = engines
    workspace.write(
        "env.yaml",
        f"policy_base_url: {policy.base_url}\npolicy_api_key: EMPTY\npolicy_model_name: policy\n"
        f"judge_base_url: {judge.base_url}\njudge_api_key: EMPTY\njudge_model_name: judge\n",
    )
    rows = [
        {
            "responses_create_params": {"input": f'Task {n}. <script>["It is \\\\boxed{{{n}1}}."]</script>'},
            "question": f"Task {n}",
            "expected_answer": f"{n}2",
        }
        for n in range(1, COUNT + 1)
    ]
    workspace.write("tasks.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    name = request.param.removesuffix("_judged")
    block = f"++{name}.resources_servers.{name}"
    workspace.words = [
        f"+config_paths=[{VLLM},{JUDGE},resources_servers/{name}/configs/{request.param}.yaml]",
        f"{block}.placement={PLACED[request.param]}",
        f"{block}.question_extract_regex='Task .'",  # the policy's script is not for the judge to follow
        IMPATIENT,
    ]
    workspace.agent = f"+agent_name={name}_simple_agent"
    return workspace


async def collect(user):
    asked = (user.agent, "+input_jsonl_fpath=tasks.jsonl", "+output_jsonl_fpath=x.jsonl")
    return await user.collect(*user.words, *asked)


@pytest.mark.parametrize("user", ["equivalence_llm_judge"], indirect=True)
async def test_judge_calls_reach_only_the_judge_and_decide_the_reward(user, engines):
    policy, judge = engines
    ended = await collect(user)

    assert ended.code == 0, ended.err
    rows = user.rows("x.jsonl")
    assert [row["reward"] for row in rows] == [1.0] * COUNT
    assert all(len(row["judge_evaluations"]) == 2 for row in rows)
    assert all(row["judge_evaluations"][0]["response"]["model"] == "judge" for row in rows)
    assert (policy.stats.calls, judge.stats.calls) == (COUNT, 2 * COUNT)


@pytest.mark.parametrize("user", PLACED, indirect=True)
async def test_rollouts_whose_judge_is_down_wait_in_the_sidecar_until_it_is_back(user, engines):
    policy, judge = engines
    await judge.stop()
    ended = await collect(user)
    failures = user.rows("x_failures.jsonl")

    assert ended.code == 3, ended.err
    assert user.rows("x.jsonl") == []
    assert [row["_ng_failure_class"] for row in failures] == ["judge_failed"] * COUNT
    assert not any("reward" in row for row in failures)
    assert all(row["response"]["output"] for row in failures)

    await judge.start()
    scoring = ("+input_jsonl_fpath=x_failures.jsonl", "+output_jsonl_fpath=late.jsonl")
    scored = await user.run("verify_rollouts", *user.words, *scoring)

    assert scored.code == 0, scored.err
    late = user.rows("late.jsonl")
    assert [row["reward"] for row in late] == [1.0] * COUNT
    assert sorted(identities(late)) == sorted(identities(failures))
    assert (policy.stats.calls, judge.stats.calls) == (COUNT, 2 * COUNT)
