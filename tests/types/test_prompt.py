"""How prompts are made from templates and rows."""

import json

import pytest

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.prompt import (
    PromptConfig,
    apply_prompt_to_row,
    fill_prompt,
    load_prompt_config,
    materialize_prompts,
    validate_prompt_compatibility,
)

TEMPLATE = PromptConfig(system="be brief", user="{question} Answer as {{x}}.")


def test_fields_are_filled_in_and_doubled_braces_stay():
    assert fill_prompt(TEMPLATE, {"question": "why?"}) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "why? Answer as {x}."},
    ]
    assert fill_prompt(PromptConfig(user="{q}"), {"q": 1}) == [{"role": "user", "content": "1"}]


def test_a_field_that_a_row_lacks_is_named_with_those_it_has():
    with pytest.raises(KeyError, match=r"'question'.*the row has answer, hint"):
        fill_prompt(TEMPLATE, {"answer": 1, "hint": 2})


def test_a_row_keeps_its_other_parameters_and_is_not_changed():
    row = {"question": "why?", "responses_create_params": {"temperature": 0.5}}

    made = apply_prompt_to_row(row, TEMPLATE)

    assert made["responses_create_params"].keys() == {"temperature", "input"}
    assert row == {"question": "why?", "responses_create_params": {"temperature": 0.5}}


def test_rows_with_a_prompt_of_their_own_are_all_named():
    rows = [{"responses_create_params": {"input": text}} for text in ("a", "", "b")]

    with pytest.raises(ValueError, match=r"rows \[0, 2\]"):
        validate_prompt_compatibility(rows, TEMPLATE)


def test_a_file_of_prompts_is_written_whose_rows_tell_their_template(tmp_path):
    template, rows = tmp_path / "prompt.yaml", tmp_path / "rows.jsonl"
    template.write_text("user: '{q}'\n")
    rows.write_text('{"q": "a"}\n{"q": "b"}\n')

    materialize_prompts(str(rows), str(template), str(tmp_path / "made/out.jsonl"))

    made = [json.loads(line) for line in (tmp_path / "made/out.jsonl").read_text().splitlines()]
    assert [row["responses_create_params"]["input"][0]["content"] for row in made] == ["a", "b"]
    assert {row["prompt_config_used"] for row in made} == {str(template)}


@pytest.mark.parametrize(("text", "complaint"), [("system: a", "user"), ("user: {a: 1}", "user")])
def test_what_is_no_template_is_refused_with_its_file(tmp_path, text, complaint):
    path = tmp_path / "prompt.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=f"prompt_config: {path}.*{complaint}"):
        load_prompt_config(str(path))
    with pytest.raises(ConfigError, match="no such file"):
        load_prompt_config(str(tmp_path / "elsewhere.yaml"))
