r"""What an author of tasks may rely on: which texts count as an answer, and which answers are equal."""

import ast
import json
import operator
import time
from fractions import Fraction
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.gsm8k.answers import extract_answer
from resources_servers.gsm8k.app import GSM8KResourcesServer, GSM8KResourcesServerConfig

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


@pytest.fixture
def server():
    here = BaseServerConfig(host="127.0.0.1", port=1)
    config = GSM8KResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="gsm8k")
    neighbours = ServerClient(head_server_config=here, global_config_dict=OmegaConf.create({}))
    return GSM8KResourcesServer(config=config, server_client=neighbours)


@pytest.fixture
def client(server):
    with TestClient(server.setup_webserver()) as client:
        yield client


def played(text, **fields):
    """A row whose rollout ended with `text`."""
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message]}
    return {"responses_create_params": {"input": "how many?"}, "response": response} | fields


def reward(client, text, expected="42"):
    reply = client.post("/verify", json=played(text, expected_answer=expected))
    assert reply.status_code == 200, reply.text
    return reply.json()["reward"]


def worth(equation):
    """The exact value of an arithmetic expression; decimals are read as decimals, not as floats."""

    def value(node):
        if isinstance(node, ast.BinOp):
            return ARITHMETIC[type(node.op)](value(node.left), value(node.right))
        return Fraction(ast.get_source_segment(equation, node))

    return Fraction(value(ast.parse(equation, mode="eval").body))


def test_a_boxed_number_that_equals_the_expected_one_earns_1(client):
    assert reward(client, r"Six times seven is \boxed{42}.") == 1.0


def test_another_number_earns_0(client):
    assert reward(client, r"I think it is \boxed{41}.") == 0.0


def test_gsm8ks_own_form_counts(client):
    assert reward(client, "6 * 7 = 42\n#### 42") == 1.0


def test_a_number_that_merely_stands_in_the_text_is_no_answer(client):
    assert reward(client, "The answer is 42.") == 0.0


def test_the_box_wins_over_the_other_form(client):
    assert reward(client, "\\boxed{42}\n#### 41") == 1.0
    assert reward(client, "#### 42\n\\boxed{41}") == 0.0


def test_the_last_box_is_the_answer(client):
    assert reward(client, r"First \boxed{6}, then \boxed{42}.") == 1.0
    assert reward(client, r"First \boxed{42}, then \boxed{6}.") == 0.0


def test_a_box_that_is_never_closed_does_not_count(client):
    assert reward(client, r"So it is \boxed{42") == 0.0


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (r"\boxed{1,250}", "1250"),
        (r"\boxed{1250}", "1,250"),
        (r"\boxed{1{,}250{,}000}", "1250000"),
        (r"\boxed{12\,500}", "12,500"),
        (r"\boxed{\$37.50}", "37.5"),
        (r"\boxed{$37.50}", "37.50"),
        (r"\boxed{-7}", "-7"),
        ("\\boxed{\u22127}", "-7"),
        (r"\boxed{-\$7}", "-7"),
        (r"\boxed{75\%}", "75"),
        (r"\boxed{75%}", "75"),
        (r"\boxed{0.5}", "1/2"),
        (r"\boxed{.5}", "0.50"),
        (r"\boxed{\frac{3}{4}}", "0.75"),
        (r"\boxed{\dfrac{6}{8}}", "3/4"),
        (r"\boxed{\frac{\text{3}}{4}}", "3/4"),
        (r"\boxed{-\frac{1}{2}}", "-0.5"),
        (r"\boxed{2\frac{1}{2}}", "2.5"),
        (r"\boxed{2 1/2}", "5/2"),
        (r"\boxed{12 \text{ apples}}", "12"),
        (r"\boxed{\text{12 apples}}", "12"),
        (r"\boxed{25\text{ cm}^2}", "25"),
        (r"\boxed{60 km/h}", "60"),
        (r"\boxed{90^\circ}", "90"),
        (r"\boxed{x = 42}", "42"),
        (r"\boxed{\boxed{42}}", "42"),
        (r"\boxed {42}", "42"),
        (r"\boxed{(42)}", "42"),
        ("#### 1,250", "1250"),
        ("#### **42**", "42"),
        ("#### $42.", "42"),
        ("#### -7 degrees", "-7"),
        ("#### 41\n#### 42\n", "42"),
    ],
)
def test_the_same_number_is_right_however_it_is_written(client, said, expected):
    assert reward(client, said, expected) == 1.0


@pytest.mark.parametrize(
    "said",
    [
        r"\boxed{}",
        r"\boxed{forty-two}",
        r"\boxed{42 or 43}",
        r"\boxed{42, 43}",
        r"\boxed{40 + 2}",
        r"\boxed{7!}",
        r"\boxed{1,25}",
        r"\boxed{12,34,567}",
        r"\boxed{1e3}",
        r"\boxed{1/0}",
        r"\boxed{\frac{48}{7} \approx 6.9}",
        r"\boxed{42 \text{ dollars and } 50 \text{ cents}}",
        r"\boxed{__import__('os').getpid()}",
        "#### 3. Then add 39",
        "#### Step 3",
        "####\n42",
        "####",
        "",
    ],
)
def test_what_is_not_one_number_is_no_answer(said):
    assert extract_answer(said) is None


def test_a_third_is_not_a_rounded_third(client):
    assert reward(client, r"\boxed{0.3333333333333333}", "1/3") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 300_000,
        "\\boxed{1" + "{" * 2_000_000,
        "\\boxed" + " " * 2_000_000,
        "\\boxed{" + "\\frac{1}{" * 300_000 + "}" * 300_000,
        "#" * 2_000_000,
        "#### " + "1," * 1_000_000,
        "#### " + "9" * 2_000_000,
        "#### " + " " * 2_000_000 + "42",
    ],
    ids=["boxes", "braces", "spaces", "fractions", "hashes", "commas", "digits", "blanks"],
)
def test_a_hostile_text_of_megabytes_is_read_in_no_time(text):
    begun = time.process_time()
    assert extract_answer(text) is None
    assert time.process_time() - begun < 0.2


def test_the_reply_says_what_was_read(client):
    reply = client.post("/verify", json=played(r"\boxed{0.50}", expected_answer="1/2")).json()
    assert (reply["extracted_answer"], reply["has_answer"], reply["reward"]) == ("1/2", True, 1.0)
    reply = client.post("/verify", json=played("no idea", expected_answer="1/2")).json()
    assert (reply["extracted_answer"], reply["has_answer"], reply["reward"]) == (None, False, 0.0)


def test_an_expected_answer_may_be_a_json_number(client):
    assert reward(client, r"\boxed{42}", expected=42) == 1.0
    assert reward(client, r"\boxed{\frac{5}{2}}", expected=2.5) == 1.0


def test_a_row_whose_expected_answer_is_no_number_is_an_error_and_not_reward_0(client):
    reply = client.post("/verify", json=played(r"\boxed{42}", expected_answer="forty-two"))
    assert reply.status_code == 422
    assert "expected_answer is not one number: 'forty-two'" in reply.text


def test_repeats_of_a_task_give_pass_at_k_and_a_majority(server):
    def row(reward, said):
        return {"reward": reward, "extracted_answer": said}

    metrics = server.compute_metrics([[row(1.0, "42"), row(1.0, "42"), row(0.0, "41")], [row(0.0, None)] * 3])
    assert metrics["pass@1[avg-of-3]/accuracy"] == pytest.approx(100 / 3)
    assert metrics["pass@3/accuracy"] == pytest.approx(50)
    assert metrics["majority@3/accuracy"] == pytest.approx(50)
    keys = server.get_key_metrics(metrics | {"mean/reward": 1 / 3})
    assert {"mean/reward", "pass@3/accuracy", "majority@3/accuracy"} <= set(keys)


def test_the_data_holds_at_least_a_hundred_different_tasks():
    assert len({row["question"] for row in ROWS}) == len(ROWS) >= 100


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_expected_answer_follows_from_its_equation(row):
    assert extract_answer(rf"\boxed{{{row['expected_answer']}}}") == worth(row["equation"])


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_prompt_asks_the_question_and_for_a_box(row):
    (message,) = row["responses_create_params"]["input"]
    assert message["content"].startswith(row["question"])
    assert "\\boxed{}" in message["content"]
