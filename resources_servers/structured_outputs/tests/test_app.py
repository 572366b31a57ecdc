"""What an author of schemas may rely on: which replies satisfy one, and what is a mistake in the row."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.structured_outputs.app import (
    StructuredOutputsResourcesServer,
    StructuredOutputsResourcesServerConfig,
)
from resources_servers.structured_outputs.documents import SchemaType, read_document, unfenced
from resources_servers.structured_outputs.schemas import closed

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}
ADA = '{"name": "Ada", "age": 36}'


def serve(**settings):
    here = BaseServerConfig(host="127.0.0.1", port=1)
    config = StructuredOutputsResourcesServerConfig(
        host="127.0.0.1", port=1, entrypoint="app.py", name="structured_outputs", **settings
    )
    neighbours = ServerClient(head_server_config=here, global_config_dict=OmegaConf.create({}))
    return StructuredOutputsResourcesServer(config=config, server_client=neighbours)


@pytest.fixture
def server():
    return serve()


@pytest.fixture
def client(server):
    with TestClient(server.setup_webserver()) as client:
        yield client


def played(text, schema=PERSON, **fields):
    """A row whose rollout ended with `text`."""
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message]}
    row = {"responses_create_params": {"input": "who?"}, "schema_str": json.dumps(schema), "response": response}
    return row | fields


def verdict(client, *row, **fields):
    reply = client.post("/verify", json=played(*row, **fields))
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_document_that_satisfies_the_schema_earns_1(client):
    reply = verdict(client, f" {ADA}\n")
    assert (reply["reward"], reply["schema_valid"], reply["error_type"], reply["error_message"]) == (
        1,
        True,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "empty_response"),
        ("Ada is 36.", "parse_error"),
        ('{"name": "Ada", ', "parse_error"),
        (f"```json\n{ADA}\n```", "parse_error"),
        (f"Here it is: {ADA}", "parse_error"),
        ('{"name": "Ada", "age": NaN}', "parse_error"),
        ("[" * 100_000, "parse_error"),
        ("[" * 500 + "]" * 500, "parse_error"),
        ('{"name": "Ada", "age": "36"}', "validation_error"),
        ('{"name": "Ada", "age": true}', "validation_error"),
        ('{"age": 36}', "validation_error"),
        ('"Ada"', "validation_error"),
    ],
)
def test_another_reply_earns_0_and_the_verdict_says_why(client, text, error):
    reply = verdict(client, text)
    assert (reply["reward"], reply["schema_valid"], reply["error_type"]) == (0.0, False, error)
    assert 0 < len(reply["error_message"]) < 300


def test_all_named_properties_are_required_and_no_others_allowed_unless_the_row_says_otherwise(client):
    assert verdict(client, '{"name": "Ada"}')["error_message"] == "$: 'age' is a required property"
    assert "Additional" in verdict(client, '{"name": "Ada", "age": 36, "born": 1815}')["error_message"]
    assert verdict(client, '{"name": "Ada", "born": 1815}', strict_schema=False)["reward"] == 1.0
    assert verdict(client, '{"age": 36}', strict_schema=False)["reward"] == 0.0


def test_a_schema_is_closed_at_every_depth_where_it_names_whole_objects():
    part = {"properties": {"a": {}}}
    whole = part | {"required": ["a"], "additionalProperties": False}
    assert closed({"properties": {"inner": part}})["properties"]["inner"] == whole
    assert closed({"anyOf": [part, True]}) == {"anyOf": [whole, True]}
    assert closed({"items": part, "$defs": {"one": part}}) == {"items": whole, "$defs": {"one": whole}}
    assert closed({"allOf": [part], "not": part}) == {"allOf": [part], "not": part}
    assert "required" not in part


def test_the_lenient_mode_reads_the_last_fenced_block_or_all_where_there_is_none(client):
    text = f"First I thought of\n```\n{{}}\n```\nbut now:\n```json\n{ADA}\n```\nThat is it."
    assert verdict(client, text, grading_mode="lenient")["reward"] == 1.0
    assert verdict(client, ADA, grading_mode="lenient")["reward"] == 1.0
    assert verdict(client, f"It is {ADA}", grading_mode="lenient")["reward"] == 0.0
    assert unfenced("```") == "```"


def test_the_configuration_sets_the_grading_mode_of_all_rows():
    with TestClient(serve(grading_mode="lenient").setup_webserver()) as client:
        assert verdict(client, f"```json\n{ADA}\n```")["reward"] == 1.0


def test_expected_values_must_be_there_and_the_same_as_json(client):
    schema = {"type": "object", "properties": {"age": {}, "tags": {}}}
    wanted = {"age": 36, "tags": ["a", {"b": 1}]}
    assert verdict(client, '{"age": 36.0, "tags": ["a", {"b": 1}]}', schema, expected_values=wanted)["reward"] == 1.0
    wrong = verdict(client, '{"age": 37, "tags": ["a", {"b": 1}]}', schema, expected_values=wanted)
    assert (wrong["reward"], wrong["schema_valid"], wrong["error_type"]) == (0.0, True, "wrong_value")
    assert wrong["error_message"] == "$.age: 36 was expected"
    one = verdict(client, '{"age": true, "tags": []}', schema, expected_values={"age": 1})
    assert one["error_type"] == "wrong_value"


def test_yaml_and_toml_are_read_with_dates_as_text(client):
    schema = {"type": "object", "properties": {"day": {"const": "2024-05-10"}, "n": {"type": "array"}}}
    assert verdict(client, "day: 2024-05-10\nn: [1, 2]", schema, schema_type="yaml")["reward"] == 1.0
    assert verdict(client, "day = 2024-05-10\nn = [1, 2]", schema, schema_type="toml")["reward"] == 1.0
    assert verdict(client, "day: [", schema, schema_type="yaml")["error_type"] == "parse_error"
    assert verdict(client, "day = ", schema, schema_type="toml")["error_type"] == "parse_error"
    assert verdict(client, "a: 1\n---\nb: 2", schema, schema_type="yaml")["error_type"] == "parse_error"


@pytest.mark.parametrize(
    "text",
    ["a: &a [1]\nb: *a", "[" * 5000 + "]" * 5000, "- " * 5000 + "x", "!!python/object:os.system {}", "!!binary aGk="],
    ids=["aliases", "brackets", "dashes", "objects", "bytes"],
)
def test_yaml_that_is_more_than_plain_values_is_not_read(text):
    with pytest.raises(ValueError, match=r"."):
        read_document(text, SchemaType.YAML)


@pytest.mark.parametrize(
    "fields",
    [
        {"schema_str": "{"},
        {"schema_str": '{"type": "text"}'},
        {"schema_str": '{"$ref": "#/$defs/none"}'},
        {"schema_str": '{"$ref": "http://127.0.0.1:1/schema.json"}'},
        {"schema_type": "xml"},
        {"grading_mode": "generous"},
        {"response_mode": "tool_call"},
    ],
    ids=str,
)
def test_a_row_that_no_reply_could_satisfy_is_an_error_and_not_reward_0(client, fields):
    assert client.post("/verify", json=played(ADA, **fields)).status_code == 422


def test_metrics_come_overall_and_by_format_and_by_error(server):
    rows = [
        {"reward": 1.0, "schema_type": "json", "error_type": None},
        {"reward": 0.0, "schema_type": "json", "error_type": "parse_error"},
    ]
    metrics = server.compute_metrics([rows])
    assert metrics["pass@2/accuracy"] == pytest.approx(100)
    assert metrics["json/pass@1[avg-of-2]/accuracy"] == pytest.approx(50)
    assert metrics["errors/parse_error"] == pytest.approx(50)
    assert set(server.get_key_metrics(metrics | {"mean/reward": 0.5})) == {
        "mean/reward",
        "pass@1[avg-of-2]/accuracy",
        "pass@2/accuracy",
    }


def test_the_data_holds_at_least_24_different_tasks_in_every_format_and_mode():
    assert len({row["schema_str"] for row in ROWS}) == len(ROWS) >= 24
    assert {row["schema_type"] for row in ROWS} == set(SchemaType)
    assert {row.get("grading_mode", "strict") for row in ROWS} == {"strict", "lenient"}


@pytest.mark.parametrize("row", ROWS, ids=[row["topic"] for row in ROWS])
def test_each_rows_reference_earns_1_and_half_of_it_0(client, row):
    said = row["reference_turns"][-1]
    assert row["schema_str"] in row["responses_create_params"]["input"][0]["content"]
    assert client.post("/verify", json=played(said) | row).json()["reward"] == 1.0
    assert client.post("/verify", json=played(said[: len(said) // 2]) | row).json()["reward"] == 0.0
