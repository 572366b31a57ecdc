"""How an agent's calls name their rollout, and what its metrics are."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from nemo_gym_lite.base_responses_api_agent import BaseResponsesAPIAgentConfig, SimpleResponsesAPIAgent
from nemo_gym_lite.config_types import AggregateMetricsRequest, HeadServerConfig
from nemo_gym_lite.rollout_correlation import rollout_context
from nemo_gym_lite.server_utils import ServerClient

ROW = {"_ng_task_index": 3, "_ng_rollout_index": 1, "reward": 1.0}
MODEL = {"policy_model": {"responses_api_models": {"m": {"host": "h", "port": 1}}}}


class Agent(SimpleResponsesAPIAgent):
    """An agent with a metric of its own."""

    def compute_metrics(self, tasks):
        return {"tasks": len(tasks)}


def agent_of(tree=None, **settings):
    neighbours = MagicMock(spec=ServerClient)
    if tree is not None:
        neighbours = ServerClient(head_server_config=HeadServerConfig(), global_config_dict=tree | MODEL)
    config = BaseResponsesAPIAgentConfig(host="h", port=2, entrypoint="app.py", name="agent", **settings)
    return Agent(config=config, server_client=neighbours)


@pytest.mark.parametrize("tree", [None, {}, {"token_id_capture": {"enabled": True}}])
def test_paths_stay_as_they_are_where_calls_are_not_captured(tree):
    agent = agent_of(tree)

    assert agent.rollout_id_from_run(ROW) is None
    assert agent.url_path_for_run("/v1/responses", ROW) == "/v1/responses"
    assert agent.url_path_for_request("/v1/responses", SimpleNamespace(path_params={})) == "/v1/responses"
    assert agent.base_url_for_run("http://h:1", ROW) == "http://h:1"


def test_where_calls_are_captured_they_name_their_rollout():
    agent = agent_of({"observability_enabled": True})

    assert agent.url_path_for_run(url_path="/v1/responses", body=ROW) == "/ng-rollout/3-1/v1/responses"
    assert agent.url_path_for_run("/run", {**ROW, "_ng_attempt_index": 2}) == "/ng-rollout/3-1-a2/run"
    assert agent.url_path_for_run("/run", {**ROW, "_ng_rollout_id": "mine"}) == "/ng-rollout/mine/run"
    assert agent.base_url_for_run("http://h:1/", ROW) == "http://h:1/ng-rollout/3-1"
    assert agent.url_path_for_run("/run", {"no": "labels"}) == "/run"
    assert agent.resolve_model_base_url("policy_model", "3-1") == "http://h:1/ng-rollout/3-1/v1"
    assert agent.resolve_model_base_url("policy_model") == "http://h:1/v1"


def test_where_token_ids_are_captured_the_path_says_so():
    tree = {"token_id_capture": {"enabled": True}}

    assert agent_of(tree, token_id_capture=True).url_path_for_run("/x", ROW) == (
        "/ng-rollout/3-1/training-token-capture/x"
    )


def test_an_id_that_cannot_be_a_part_of_a_path_is_refused():
    with pytest.raises(ValueError, match="_ng_rollout_id='a/b'"):
        agent_of({"observability_enabled": True}).rollout_id_from_run({"_ng_rollout_id": "a/b"})


def test_calls_on_behalf_of_a_request_name_its_rollout():
    agent = agent_of()
    prefixed = SimpleNamespace(path_params={"rollout_id": "a"}, url=SimpleNamespace(path="/v1/responses"))
    training = SimpleNamespace(
        path_params={"rollout_id": "a"}, url=SimpleNamespace(path="/ng-rollout/a/training-token-capture/v1/responses")
    )

    assert agent.url_path_for_request("/v1/responses", prefixed) == "/ng-rollout/a/v1/responses"
    assert agent.url_path_for_request("/x", training) == "/ng-rollout/a/training-token-capture/x"
    with rollout_context("b"):
        assert agent.url_path_for_request("/x", None) == "/ng-rollout/b/x"


async def test_an_agents_own_metrics_are_added_to_the_statistics():
    metrics = await agent_of().aggregate_metrics(AggregateMetricsRequest(verify_responses=[ROW]))

    assert metrics.agent_metrics["tasks"] == 1
    assert metrics.agent_metrics["mean/reward"] == 1.0


async def test_without_verification_there_is_nothing_to_sum_up():
    with pytest.warns(RuntimeWarning, match="skip_verification"):
        metrics = await agent_of(skip_verification=True).aggregate_metrics(
            AggregateMetricsRequest(verify_responses=[ROW])
        )

    assert metrics.agent_metrics == {}
