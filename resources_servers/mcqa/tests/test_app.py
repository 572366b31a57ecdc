"""What an author of questions may rely on: which letter a reply chooses in each grading mode."""

import json
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.mcqa.app import MCQAResourcesServer, MCQAResourcesServerConfig
from resources_servers.mcqa.grading import choose

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
OPTIONS = {"A": "Lima", "B": "Quito", "C": "La Paz", "D": "La Paz, Bolivia"}


@pytest.fixture
def server():
    here = BaseServerConfig(host="127.0.0.1", port=1)
    config = MCQAResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="mcqa")
    neighbours = ServerClient(head_server_config=here, global_config_dict=OmegaConf.create({}))
    return MCQAResourcesServer(config=config, server_client=neighbours)


@pytest.fixture
def client(server):
    with TestClient(server.setup_webserver()) as client:
        yield client


def played(text, **fields):
    """A row whose rollout ended with `text`."""
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message]}
    row = {
        "responses_create_params": {"input": "which?"},
        "options": [{letter: text} for letter, text in OPTIONS.items()],
        "expected_answer": "B",
    }
    return row | {"response": response} | fields


def test_the_expected_letter_in_a_box_earns_1_and_another_0(client):
    assert client.post("/verify", json=played(r"It is \boxed{B}.")).json()["reward"] == 1.0
    assert client.post("/verify", json=played(r"It is \boxed{C}.")).json()["reward"] == 0.0


def test_no_choice_earns_0_and_the_reply_says_so(client):
    reply = client.post("/verify", json=played("It is B.")).json()
    assert (reply["reward"], reply["extracted_answer"], reply["has_answer"]) == (0.0, None, False)


def test_the_grading_mode_comes_from_the_row(client):
    lenient = played(r"\boxed{Quito}", grading_mode="lenient_boxed")
    assert client.post("/verify", json=lenient).json()["reward"] == 1.0
    assert client.post("/verify", json=played(r"\boxed{Quito}")).json()["reward"] == 0.0


def test_an_unknown_grading_mode_is_an_error(client):
    assert client.post("/verify", json=played("x", grading_mode="generous")).status_code == 422


def test_an_expected_answer_that_is_no_option_is_an_error_and_not_reward_0(client):
    reply = client.post("/verify", json=played(r"\boxed{E}", expected_answer="E"))
    assert reply.status_code == 422
    assert "expected_answer 'E' is none of ['A', 'B', 'C', 'D']" in reply.text


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        (r"\boxed{B}", "B"),
        (r"\boxed {B}", "B"),
        (r"\boxed{(B)}", "B"),
        (r"\boxed{ B. }", "B"),
        (r"\boxed{A} and then \boxed{B}", "B"),
        (r"\boxed{B} and then \boxed{A}", "A"),
        (r"\boxed{b}", None),
        (r"\boxed{AB}", None),
        (r"\boxed{A or B}", None),
        (r"\boxed{\text{B}}", None),
        (r"\boxed{Quito}", None),
        (r"\boxed{E}", None),
        (r"\boxed{}", None),
        (r"\boxed{B", None),
        ("B", None),
        ("Answer: B", None),
    ],
)
def test_the_strict_mode_reads_one_capital_letter_in_the_last_box(text, choice):
    assert choose(text, OPTIONS, "strict_single_letter_boxed") == choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        (r"\boxed{B}", "B"),
        (r"\boxed{b}", "B"),
        (r"\boxed{\text{B}}", "B"),
        (r"\boxed{\textbf{(B)}}", "B"),
        (r"\boxed{B: Quito}", "B"),
        (r"\boxed{B) quito}", "B"),
        (r"\boxed{\text{Quito}}", "B"),
        (r"\boxed{La  Paz}", "C"),
        (r"\boxed{la paz, bolivia.}", "D"),
        (r"\boxed{A: Quito}", None),
        (r"\boxed{Quito or Lima}", None),
        (r"\boxed{Paris}", None),
        (r"\boxed{A or B}", None),
        ("Quito", None),
    ],
)
def test_the_lenient_boxed_mode_also_reads_an_options_text(text, choice):
    assert choose(text, OPTIONS, "lenient_boxed") == choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Answer: B", "B"),
        ("answer : (b)", "B"),
        ("**Answer:** B", "B"),
        ("**Answer**: B.", "B"),
        ("Let me think.\nAnswer: A\nNo.\nAnswer: B\nThat is it.", "B"),
        ("Final answer: Quito", "B"),
        (r"Answer: \boxed{B}", "B"),
        ("Answer: B, because it is high up", None),
        ("Answer: Paris", None),
        ("Answer:", None),
        ("The answer is B", None),
        (r"\boxed{B}", None),
    ],
)
def test_the_lenient_answer_colon_mode_reads_the_last_answer_line(text, choice):
    assert choose(text, OPTIONS, "lenient_answer_colon") == choice


def test_a_text_that_two_options_share_chooses_none_of_them():
    assert choose(r"\boxed{same}", {"A": "same", "B": "Same"}, "lenient_boxed") is None


@pytest.mark.parametrize("mode", ["strict_single_letter_boxed", "lenient_boxed", "lenient_answer_colon"])
@pytest.mark.parametrize(
    "text",
    ["\\boxed{" * 300_000, "\\boxed{" + "{a}" * 700_000, "answer:" * 300_000, "answer" + "*" * 2_000_000],
    ids=["boxes", "braces", "answers", "stars"],
)
def test_a_hostile_text_of_megabytes_is_read_in_no_time(text, mode):
    begun = time.process_time()
    assert choose(text, OPTIONS, mode) is None
    assert time.process_time() - begun < 0.5


def test_metrics_come_overall_and_by_subject(server):
    rows = [
        {"reward": 1.0, "extracted_answer": "B", "subject": "history"},
        {"reward": 0.0, "extracted_answer": "C", "subject": "history"},
    ]
    metrics = server.compute_metrics([rows])
    assert metrics["pass@2/accuracy"] == pytest.approx(100)
    assert metrics["history/pass@1[avg-of-2]/accuracy"] == pytest.approx(50)


def test_the_data_holds_at_least_forty_different_questions_of_several_subjects():
    assert len({row["question"] for row in ROWS}) == len(ROWS) >= 40
    assert len({row["subject"] for row in ROWS}) >= 5
    assert {row["grading_mode"] for row in ROWS} >= {"strict_single_letter_boxed", "lenient_boxed"}


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_row_is_consistent_and_its_expected_letter_earns_1(client, row):
    letters = [letter for option in row["options"] for letter in option]
    prompt = row["responses_create_params"]["input"][0]["content"]
    assert letters == [chr(ord("A") + place) for place in range(len(letters))]
    assert all(f"\n{letter}: {text}\n" in prompt for option in row["options"] for letter, text in option.items())
    colon = row["grading_mode"] == "lenient_answer_colon"
    said = f"Answer: {row['expected_answer']}" if colon else rf"\boxed{{{row['expected_answer']}}}"
    assert client.post("/verify", json=played(said, **row)).json()["reward"] == 1.0
