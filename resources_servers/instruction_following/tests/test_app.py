"""What an author of tasks may rely on: how replies are scored, and which constraints are mistakes in the row."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.instruction_following.app import (
    InstructionFollowingResourcesServer,
    InstructionFollowingResourcesServerConfig,
)
from resources_servers.instruction_following.constraints import KINDS

HERE = Path(__file__).parents[1]
ROWS = [json.loads(line) for line in (HERE / "data/example.jsonl").read_text().splitlines()]
SHORT = {"kind": "words", "at_most": 5}
CALM = {"kind": "excludes_characters", "characters": "!"}


def serve(**settings):
    here = BaseServerConfig(host="127.0.0.1", port=1)
    config = InstructionFollowingResourcesServerConfig(
        host="127.0.0.1", port=1, entrypoint="app.py", name="instruction_following", **settings
    )
    neighbours = ServerClient(head_server_config=here, global_config_dict=OmegaConf.create({}))
    return InstructionFollowingResourcesServer(config=config, server_client=neighbours)


@pytest.fixture
def server():
    return serve()


@pytest.fixture
def client(server):
    with TestClient(server.setup_webserver()) as client:
        yield client


def played(text, *constraints, **fields):
    """A row whose rollout ended with `text`."""
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message]}
    row = {"responses_create_params": {"input": "say"}, "constraints": constraints, "response": response}
    return row | fields


def test_a_reply_that_follows_all_constraints_earns_1_and_another_0(client):
    good = client.post("/verify", json=played("All is well.", SHORT, CALM)).json()
    bad = client.post("/verify", json=played("All is well!", SHORT, CALM)).json()
    assert (good["reward"], good["follow_all_instructions"], good["follow_instruction_list"]) == (1.0, True, [True] * 2)
    assert (bad["reward"], bad["follow_all_instructions"], bad["follow_instruction_list"]) == (
        0.0,
        False,
        [True, False],
    )
    assert (bad["fraction_followed"], bad["constraints"]) == (0.5, [SHORT, CALM])


def test_the_fraction_mode_of_a_row_or_of_the_configuration_pays_for_each_constraint(client):
    row = played("All is well!", SHORT, CALM)
    assert client.post("/verify", json=row | {"grading_mode": "fraction"}).json()["reward"] == 0.5
    with TestClient(serve(grading_mode="fraction").setup_webserver()) as generous:
        assert generous.post("/verify", json=row).json()["reward"] == 0.5
    with TestClient(serve(grading_mode="binary").setup_webserver()) as strict:
        assert strict.post("/verify", json=row | {"grading_mode": "fraction"}).json()["reward"] == 0.0


def test_an_empty_reply_follows_nothing(client):
    reply = client.post("/verify", json=played(" \n", SHORT, CALM)).json()
    assert (reply["reward"], reply["fraction_followed"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("constraint", "complaint"),
    [
        ({"kind": "word", "at_least": 1}, "unknown kind 'word'; did you mean `words`"),
        ({"kind": "words"}, "neither at_least nor at_most is given"),
        ({"kind": "words", "at_least": 9, "at_most": 3}, "at_least 9 is more than at_most 3"),
        ({"kind": "words", "at_least": "3"}, "words: at_least"),
        ({"kind": "words", "at_least": -1}, "words: at_least"),
        ({"kind": "words", "exactly": 3, "at_most": 3}, "words: exactly"),
        ({"kind": "includes", "phrases": []}, "includes: phrases"),
        ({"kind": "includes", "phrases": [" "]}, "includes: phrases.0"),
        ({"kind": "starts_with"}, "starts_with: phrase"),
        ({"kind": "quoted", "at_least": 1}, "quoted: at_least"),
        ({}, "kind"),
    ],
    ids=str,
)
def test_a_constraint_that_is_none_is_an_error_and_not_reward_0(client, constraint, complaint):
    reply = client.post("/verify", json=played("All is well.", SHORT, constraint))
    assert reply.status_code == 422
    assert complaint in reply.text


def test_a_row_without_constraints_is_an_error(client):
    assert client.post("/verify", json=played("All is well.")).status_code == 422


def test_metrics_come_overall_and_by_kind(server):
    def row(*followed):
        constraints = [SHORT, CALM]
        shares = {"fraction_followed": sum(followed) / 2, "follow_instruction_list": list(followed)}
        return shares | {"constraints": constraints, "follow_all_instructions": all(followed)}

    metrics = server.compute_metrics([[row(True, True), row(True, False)]])
    assert metrics["pass@2/accuracy"] == pytest.approx(100)
    assert metrics["pass@1[avg-of-2]/accuracy"] == pytest.approx(50)
    assert metrics["pass@1[avg-of-2]/fraction_followed"] == pytest.approx(75)
    assert (metrics["followed/words"], metrics["followed/excludes_characters"]) == (100, 50)
    assert set(server.get_key_metrics(metrics | {"mean/reward": 0.5})) == {
        "mean/reward",
        "pass@1[avg-of-2]/accuracy",
        "pass@2/accuracy",
    }


def test_the_data_uses_every_kind_and_the_readme_tells_of_it():
    assert len({row["responses_create_params"]["input"][0]["content"] for row in ROWS}) == len(ROWS) >= 24
    assert {constraint["kind"] for row in ROWS for constraint in row["constraints"]} == set(KINDS)
    readme = (HERE / "README.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in readme] == []
    assert len(KINDS) >= 15


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_rows_reference_earns_1_and_another_tasks_reference_less(client, row):
    said = row["reference_turns"][-1]
    assert client.post("/verify", json=played(said) | row).json()["reward"] == 1.0
    others = [other["reference_turns"][-1] for other in ROWS if other is not row]
    rewards = [client.post("/verify", json=played(other) | row).json()["reward"] for other in others]
    assert sum(rewards) / len(rewards) < 0.7
