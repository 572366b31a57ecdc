"""What a user of reasoning-gym's tasks may rely on: how answers are found and scored, and whose fault a failure is."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.reasoning_gym.answers import extract_answer
from resources_servers.reasoning_gym.app import ReasoningGymResourcesServer, ReasoningGymResourcesServerConfig

pytest.importorskip("reasoning_gym", reason='pip install "nemo-gym-lite[reasoning-gym]"')

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def server():
    here = BaseServerConfig(host="127.0.0.1", port=1)
    config = ReasoningGymResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="reasoning_gym")
    neighbours = ServerClient(head_server_config=here, global_config_dict=OmegaConf.create({}))
    return ReasoningGymResourcesServer(config=config, server_client=neighbours)


@pytest.fixture(scope="module")
def client(server):
    with TestClient(server.setup_webserver(), raise_server_exceptions=False) as client:
        yield client


def verify(client, said, row):
    part = {"type": "output_text", "text": said, "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message]}
    return client.post("/verify", json={**row, "response": response})


def row(dataset, answer, question="?", **fields):
    metadata = {"source_dataset": dataset, **fields}
    return {"responses_create_params": {"input": "?"}, "question": question, "answer": answer, "metadata": metadata}


@pytest.mark.parametrize("task", ROWS, ids=lambda task: task["metadata"]["source_dataset"])
def test_the_answer_of_each_task_earns_all_and_nonsense_next_to_nothing(client, task):
    verdict = verify(client, f"So:\n<answer>\n{task['answer']}\n</answer>", task).json()
    assert verdict["reward"] == verdict["score"] == pytest.approx(1.0)
    assert verdict["task_name"] == task["metadata"]["source_dataset"]
    assert (verdict["has_answer"], verdict["complaint"]) == (True, "")

    assert verify(client, "<answer>no idea</answer>", task).json()["reward"] <= 0.1


def test_the_data_holds_twenty_datasets_and_asks_for_tags():
    assert len({task["metadata"]["source_dataset"] for task in ROWS}) == 20
    assert len({task["question"] for task in ROWS}) == len(ROWS) == 60
    for task in ROWS:
        (message,) = task["responses_create_params"]["input"]
        assert message["content"].startswith(task["question"])
        assert "<answer>" in message["content"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("<answer>7</answer>", ("7", True)),
        ("<answer>6</answer> no, <answer> 7\n</answer>.", ("7", True)),
        ("<answer>a <b> c</answer>", ("a <b> c", True)),
        ("\\boxed{6} <answer>7</answer>", ("7", True)),
        ("It is \\boxed{\\frac{1}{2}}, so \\boxed{7}.", ("7", True)),
        ("\\boxed{\\frac{1}{2}}", ("\\frac{1}{2}", True)),
        ("<answer>7", ("<answer>7", False)),
        ("</answer>7", ("</answer>7", False)),
        ("\\boxed{7", ("\\boxed{7", False)),
        (" 7 ", ("7", False)),
        ("", ("", False)),
    ],
)
def test_the_answer_is_between_the_last_tags_or_in_the_last_box_or_all_of_the_reply(said, found):
    assert extract_answer(said) == found


def test_a_hostile_text_of_megabytes_is_read_in_one_pass():
    for text in ("<answer>" * 300_000, "</answer>" * 300_000, "\\boxed{" * 300_000, "{" * 2_000_000):
        assert extract_answer(text)[1] is False


def test_a_dataset_that_cannot_read_an_answer_gives_nothing_and_says_why(client):
    verdict = verify(client, "no idea", row("prime_factorization", "2")).json()

    assert (verdict["reward"], verdict["has_answer"]) == (0.0, False)
    assert "invalid literal" in verdict["complaint"]


def test_a_task_that_its_own_dataset_cannot_score_is_an_error_and_not_reward_0(client):
    assert verify(client, "<answer>six</answer>", row("prime_factorization", "two")).status_code == 500


def test_a_row_without_a_dataset_or_of_an_unknown_one_is_an_error_and_not_reward_0(client):
    without = row("x", "1") | {"metadata": {}}
    assert verify(client, "1", without).status_code == 422
    assert "source_dataset" in verify(client, "1", without).text
    assert verify(client, "1", row("leg_countin", "1")).status_code == 500


def test_rows_of_one_task_give_pass_at_k_for_each_dataset(server):
    rollouts = [
        [{"reward": reward, "task_name": "gcd"} for reward in (0.0, 1.0)],
        [{"reward": 1.0, "task_name": "lcm"}] * 2,
    ]
    metrics = server.compute_metrics(rollouts)

    assert metrics["pass@1/accuracy"] == pytest.approx(75)
    assert metrics["gcd/pass@2/accuracy"] == metrics["lcm/pass@1/accuracy"] == pytest.approx(100)
    assert set(server.get_key_metrics({**metrics, "mean/reward": 0.75})) >= {"mean/reward", "pass@2/accuracy"}
