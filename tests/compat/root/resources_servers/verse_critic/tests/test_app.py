import json
from unittest.mock import AsyncMock, MagicMock

import aiohttp
import pytest
from app import VerseCriticConfig, VerseCriticServer, VerseCriticVerifyRequest
from fastapi.testclient import TestClient

from nemo_gym.config_types import AggregateMetricsRequest, ModelServerRef
from nemo_gym.judge import JudgeError
from nemo_gym.openai_utils import NeMoGymResponse, NeMoGymResponseCreateParamsNonStreaming
from nemo_gym.server_utils import ServerClient


def reply_with(text: str) -> dict:
    return {
        "id": "resp",
        "created_at": 0,
        "model": "m",
        "object": "response",
        "output": [
            {
                "type": "message",
                "id": "msg",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


@pytest.fixture
def server():
    config = VerseCriticConfig(
        host="",
        port=0,
        entrypoint="",
        name="critic",
        judge_model_server=ModelServerRef(type="responses_api_models", name="judge_model"),
        judge_responses_create_params=NeMoGymResponseCreateParamsNonStreaming(input=[], temperature=0.0),
    )
    return VerseCriticServer(config=config, server_client=MagicMock(spec=ServerClient))


def judge_says(server, text):
    reply = MagicMock()
    reply.ok = True
    reply.read = AsyncMock(return_value=json.dumps(reply_with(text)))
    reply.json = AsyncMock(return_value=reply_with(text))
    server.server_client.post = AsyncMock(return_value=reply)


def request(verse="one\ntwo"):
    return VerseCriticVerifyRequest(
        responses_create_params=NeMoGymResponseCreateParamsNonStreaming(input="verse, please"),
        response=NeMoGymResponse.model_validate(reply_with(verse)),
        theme="rain",
        subject="weather",
        _ng_task_index=0,
    )


@pytest.mark.parametrize(
    "verse, says, reward, verdict",
    [
        ("one\ntwo", "[[FITS]]", 1.0, "FITS"),
        ("one", "well: [[FITS]]", 0.5, "FITS"),
        ("one\ntwo", "[[MISSES]]", 0.5, "MISSES"),
        ("one", "hard to say", 0.0, None),
    ],
)
async def test_form_and_sense_make_the_reward(server, verse, says, reward, verdict):
    judge_says(server, says)
    result = await server.verify(request(verse))
    assert (result.reward, result.verdict, result.judge_says) == (reward, verdict, says)
    assert set(result.reward_components) == {"form", "sense"}
    assert result.model_dump()["subject"] == "weather"


async def test_only_the_judge_is_asked_and_with_its_own_parameters(server):
    judge_says(server, "[[FITS]]")
    await server.verify(request())
    call = server.server_client.post.call_args.kwargs
    assert (call["server_name"], call["url_path"]) == ("judge_model", "/v1/responses")
    assert call["json"].temperature == 0.0
    system, user = call["json"].input
    assert system.content == "You judge verse. Say {nothing} but your verdict."
    assert "about rain:\n\none\ntwo" in user.content
    assert server.config.judge_responses_create_params.input == []


async def test_a_judge_that_is_down_is_no_verdict(server):
    server.server_client.post = AsyncMock(side_effect=aiohttp.ClientConnectionError("down"))
    with pytest.raises(JudgeError):
        await server.verify(request())
    body = request().model_dump(mode="json")
    reply = TestClient(server.setup_webserver()).post("/verify", json=body)
    assert reply.status_code == 200
    assert reply.json()["_ng_failure_class"] == "judge_failed"
    assert reply.json()["reward"] == 0.0
    assert "down" in reply.json()["_ng_failure_judge_error"]
    assert reply.json()["theme"] == "rain"


async def test_metrics_come_in_percent_by_subject_and_with_majorities(server):
    def row(task, rollout, reward, form, verdict, subject):
        return {
            "_ng_task_index": task,
            "_ng_rollout_index": rollout,
            "reward": reward,
            "form": form,
            "verdict": verdict,
            "subject": subject,
            "response": {"usage": {"input_tokens": 3}},
        }

    rows = [
        row(0, 0, 1.0, 1.0, "FITS", "weather"),
        row(0, 1, 0.5, 1.0, "MISSES", "weather"),
        row(1, 0, 0.5, 0.0, "FITS", "town"),
        row(1, 1, 0.0, 0.0, None, "town"),
    ]
    result = await server.aggregate_metrics(AggregateMetricsRequest(verify_responses=rows))
    metrics = result.agent_metrics
    assert metrics["mean/reward"] == 0.5
    assert metrics["pass@1[avg-of-2]/accuracy"] == 25.0
    assert metrics["pass@2/accuracy"] == 50.0
    assert metrics["weather/pass@2/accuracy"] == 100.0
    assert metrics["town/pass@2/accuracy"] == 0.0
    assert result.key_metrics["pass@2/accuracy"] == 50.0
    assert "majority@2/accuracy" in result.key_metrics
    assert [group["judged_in_turn"] for group in result.group_level_metrics] == [[0, 1], [0]]
