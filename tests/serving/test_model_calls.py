"""What is written down of the calls to a served model, and when."""

import pytest
from fastapi.testclient import TestClient

from nemo_gym_lite.base_responses_api_model import (
    BaseResponsesAPIModelConfig,
    CaptureStore,
    SimpleResponsesAPIModel,
    read_model_call_records,
)
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import ConfigError, FailedCallError
from nemo_gym_lite.rollout_correlation import current_rollout_id
from nemo_gym_lite.server_utils import ServerClient

from .conftest import message, response_with

USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": None},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": None},
    "total_tokens": 5,
}


class Parrot(SimpleResponsesAPIModel):
    """Repeats the input, and tells the rollout."""

    async def respond(self, params, session_id):
        if params["input"] == "busy":
            raise FailedCallError("rate_limited", "all endpoints are busy")
        return response_with([message(params["input"])], USAGE, metadata={"rollout": str(current_rollout_id())})

    async def chat(self, body, session_id):
        return {"id": "c", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}


def client_of(**settings):
    config = BaseResponsesAPIModelConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="policy_model")
    neighbours = ServerClient(head_server_config=HeadServerConfig(), global_config_dict=settings)
    return TestClient(Parrot(config=config, server_client=neighbours).build_app())


def test_calls_that_name_their_rollout_are_kept_in_order(tmp_path):
    with client_of(observability_enabled=True, model_call_capture_dir=str(tmp_path / "calls")) as client:
        client.post("/ng-rollout/3-0/v1/responses", json={"input": "one"})
        client.post("/ng-rollout/3-0/training-token-capture/v1/chat/completions", json={"messages": []})
        client.post("/ng-rollout/4-0/v1/responses", json={"input": "another rollout"})
        client.post("/v1/responses", json={"input": "nobody's"})

    store = CaptureStore(tmp_path / "calls")
    first, second = read_model_call_records(store, "3-0")
    assert (first.dialect, first.request, first.status_code) == ("responses", {"input": "one"}, 200)
    assert first.response["output"] == [message("one")]
    assert (first.tokens_in, first.tokens_out, first.tokens_total) == (3, 2, 5)
    assert first.model_ref.name == "policy_model"
    assert first.completed_at >= first.started_at
    assert first.latency_total_ms >= first.latency_ttft_ms > 0
    assert (second.call_index, second.dialect, second.finish_reason) == (1, "chat", "stop")
    assert len(read_model_call_records(store, "4-0")) == 1
    assert {path.name for path in store.root.iterdir()} == {"3-0.capture.jsonl", "4-0.capture.jsonl"}


def test_a_call_that_failed_is_kept_with_the_way_it_did(tmp_path):
    with client_of(observability_enabled=True, model_call_capture_dir=str(tmp_path)) as client:
        refused = client.post("/ng-rollout/a/v1/responses", json={"input": "busy"})
        client.post("/ng-rollout/a/v1/responses", json={"inptu": "misspelt"})

    failed, wrong = read_model_call_records(CaptureStore(tmp_path), "a")
    assert refused.status_code == 429
    assert failed.error_category == "upstream_error"  # the failure becomes a reply further out
    assert (wrong.status_code, wrong.error_category) == (422, "client_error")


def test_who_answers_knows_the_rollout_of_the_request():
    with client_of() as client:
        named = client.post("/ng-rollout/7-1/v1/responses", json={"input": "a"}).json()
        unnamed = client.post("/v1/responses", json={"input": "a"}).json()

    assert named["metadata"] == {"rollout": "7-1"}
    assert unnamed["metadata"] == {"rollout": "None"}


@pytest.mark.parametrize("folder", [None, "relative/path"])
def test_where_calls_are_to_go_must_be_an_absolute_path(folder):
    with pytest.raises(ConfigError, match="model_call_capture_dir"):
        client_of(observability_enabled=True, model_call_capture_dir=folder)


def test_no_id_leads_out_of_the_folder(tmp_path):
    with pytest.raises(ValueError, match="no rollout id"):
        CaptureStore(tmp_path).path_for("../secrets")
