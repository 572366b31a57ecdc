"""What an author of questions may rely on: how a reply to a row is scored, and what is a mistake in the row."""

import json
from pathlib import Path
from typing import get_args

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.mcqa.app import (
    MCQAResourcesServer,
    MCQAResourcesServerConfig,
    MCQAVerifyRequest,
    MCQAVerifyResponse,
    _extract_options_and_expected,
    _get_allowed_letters_from_options,
    _parse_answer_with_custom_regex,
)
from resources_servers.mcqa.grading import GradingMode

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
OPTIONS = {"A": "Lima", "B": "Quito", "C": "La Paz", "D": "La Paz, Bolivia"}


def serve(kind=MCQAResourcesServer, **settings):
    here = BaseServerConfig(host="127.0.0.1", port=1)
    config = MCQAResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="mcqa", **settings)
    neighbours = ServerClient(head_server_config=here, global_config_dict=OmegaConf.create({}))
    return kind(config=config, server_client=neighbours)


@pytest.fixture
def server():
    return serve()


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
    assert (reply["reward"], reply["extracted_answer"]) == (0.0, None)


def test_the_grading_mode_comes_from_the_row(client):
    lenient = played(r"\boxed{Quito}", grading_mode="lenient_boxed")
    assert client.post("/verify", json=lenient).json()["reward"] == 1.0
    assert client.post("/verify", json=played(r"\boxed{Quito}")).json()["reward"] == 0.0


def test_the_configuration_sets_the_grading_mode_of_all_rows():
    with TestClient(serve(grading_mode="lenient_boxed").setup_webserver()) as client:
        assert client.post("/verify", json=played(r"\boxed{Quito}")).json()["reward"] == 1.0


def test_a_rows_own_pattern_goes_before_the_grading_mode_and_leaves_to_it_what_it_does_not_find(client):
    template = {"output_regex": r"Option Selected:\s*([A-Za-z])"}
    both = played(r"Option Selected: c, or \boxed{B}", template_metadata=template)
    assert client.post("/verify", json=both).json()["extracted_answer"] == "C"
    boxed = played(r"\boxed{B}", template_metadata=template)
    assert client.post("/verify", json=boxed).json()["extracted_answer"] == "B"


def test_a_pattern_needs_no_options_and_the_grading_modes_do(client):
    template = {"output_regex": r"Selected:\s*([A-Za-z])"}
    alone = played("Selected: B", options=[], template_metadata=template)
    assert client.post("/verify", json=alone).json()["reward"] == 1.0
    reply = client.post("/verify", json=played(r"\boxed{B}", options=[]))
    assert reply.status_code == 422
    assert "options is empty" in reply.text


def test_a_prefix_of_the_row_marks_its_answer_and_lets_a_box_count(client):
    row = {"template_metadata": {"answer_prefix": "Die Antwort ist"}, "grading_mode": "lenient_answer_colon_md"}
    assert client.post("/verify", json=played("Die Antwort ist (B).", **row)).json()["reward"] == 1.0
    assert client.post("/verify", json=played(r"\boxed{B}", **row)).json()["reward"] == 1.0
    without = row | {"template_metadata": None}
    assert client.post("/verify", json=played(r"\boxed{B}", **without)).json()["reward"] == 0.0


def test_an_unknown_grading_mode_is_an_error(client):
    assert client.post("/verify", json=played("x", grading_mode="generous")).status_code == 422


def test_an_expected_answer_that_is_no_option_is_an_error_and_not_reward_0(client):
    reply = client.post("/verify", json=played(r"\boxed{E}", expected_answer="E"))
    assert reply.status_code == 422
    assert "expected_answer 'E' is none of ['A', 'B', 'C', 'D']" in reply.text
    assert client.post("/verify", json=played(r"\boxed{B}", expected_answer=None)).status_code == 422


def test_lower_case_keys_and_answers_are_letters_all_the_same_and_an_option_of_null_is_none(client):
    row = played(r"\boxed{B}", options=[{"a": "one"}, {"b": "two"}, {"c": None}], expected_answer=" b ")
    reply = client.post("/verify", json=row).json()
    assert (reply["reward"], reply["expected_answer"]) == (1.0, "B")
    assert client.post("/verify", json=row | {"expected_answer": "c"}).status_code == 422


def test_environments_that_build_on_this_one_find_its_parts_by_name():
    class Last(MCQAResourcesServer):
        async def verify(self, body: MCQAVerifyRequest) -> MCQAVerifyResponse:
            options, expected = _extract_options_and_expected(body)
            letters = _get_allowed_letters_from_options(options)
            chosen = _parse_answer_with_custom_regex(body.response.output_text, "([A-Z])$", letters, options)
            return MCQAVerifyResponse(
                **body.model_dump(exclude={"expected_answer"}),
                reward=float(chosen == expected),
                expected_answer=expected,
                extracted_answer=chosen,
            )

    with TestClient(serve(Last).setup_webserver()) as client:
        assert client.post("/verify", json=played("it is B")).json()["reward"] == 1.0


def test_metrics_come_overall_and_by_subject(server):
    rows = [
        {"reward": 1.0, "extracted_answer": "B", "subject": "history"},
        {"reward": 0.0, "extracted_answer": "C", "subject": "history"},
    ]
    metrics = server.compute_metrics([rows])
    chosen_first = server.get_key_metrics(metrics | {"mean/reward": 0.5})
    assert metrics["pass@2/accuracy"] == pytest.approx(100)
    assert metrics["history/pass@1[avg-of-2]/accuracy"] == pytest.approx(50)
    assert set(chosen_first) == {
        "mean/reward",
        "pass@1/accuracy",
        "pass@1[avg-of-2]/accuracy",
        "pass@1[avg-of-2]/no_answer",
        "pass@2/no_answer",
        "majority@2/accuracy",
    }


def test_the_data_holds_at_least_forty_different_questions_of_several_subjects():
    assert len({row["question"] for row in ROWS}) == len(ROWS) >= 40
    assert len({row["subject"] for row in ROWS}) >= 5
    assert {row["grading_mode"] for row in ROWS} == set(get_args(GradingMode))
    assert sum("template_metadata" in row for row in ROWS) >= 5


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_row_is_consistent_and_its_expected_letter_earns_1(client, row):
    letters = [letter for option in row["options"] for letter in option]
    prompt = row["responses_create_params"]["input"][0]["content"]
    assert letters == [chr(ord("A") + place) for place in range(len(letters))]
    assert all(f"\n{letter}: {text}\n" in prompt for option in row["options"] for letter, text in option.items())
    colon = row["grading_mode"].startswith("lenient_answer_colon")
    form = "Answer: {}" if colon else "\\boxed{{{}}}"
    said = row.get("reference_turns", [form.format(row["expected_answer"])])[-1]
    assert client.post("/verify", json=played(said, **row)).json()["reward"] == 1.0
    wrong = played(said, **row) | {"expected_answer": next(each for each in letters if each != row["expected_answer"])}
    assert client.post("/verify", json=wrong).json()["reward"] == 0.0
