"""Prompt templates: one YAML file with `user` and `system` makes the prompts of rows that have none."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.config.wording import complaints
from nemo_gym_lite.errors import ConfigError


class PromptConfig(BaseModel):
    """Templates in which `{field}` stands for a top-level field of the row, and `{{ }}` for braces.

    Attributes:
        user: The user's message.
        system: The system's message, if there is to be one.
    """

    user: str
    system: str | None = None


@lru_cache(maxsize=64)
def load_prompt_config(path: str) -> PromptConfig:
    """Read a template; the search roots are searched, and a file is read once.

    Raises:
        ConfigError: The file is not there, or is no template.
    """
    found = find(path)
    if found is None:
        raise ConfigError(f"prompt_config: no such file: {path}")
    try:
        return PromptConfig.model_validate(read_yaml(found))
    except ValidationError as error:
        lines = "; ".join(complaints(error))
        raise ConfigError(f"prompt_config: {found}: {lines}", "it holds `user` and, optionally, `system`") from None


def fill_prompt(prompt_config: PromptConfig, row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the messages of a row: the system's, if there is one, and the user's.

    Raises:
        KeyError: The template names a field that the row does not have.
    """
    templates = {"system": prompt_config.system, "user": prompt_config.user}
    try:
        return [
            {"role": role, "content": template.format_map(row)}
            for role, template in templates.items()
            if template is not None
        ]
    except KeyError as error:
        fields = ", ".join(map(str, row))
        raise KeyError(f"the template names the field {error}, and the row has {fields}") from None


def validate_prompt_compatibility(rows: Iterable[Mapping[str, Any]], prompt_config: PromptConfig) -> None:
    """Check that no row has a prompt already.

    Raises:
        ValueError: Some have; the message tells the positions of all of them.
    """
    filled = [index for index, row in enumerate(rows) if (row.get("responses_create_params") or {}).get("input")]
    if filled:
        raise ValueError(f"rows {filled} have `responses_create_params.input` already, so no template can be applied")


def apply_prompt_to_row(row: Mapping[str, Any], prompt_config: PromptConfig) -> Json:
    """Return the row with its prompt made from the template; its other parameters stay, `row` is not changed."""
    params = row.get("responses_create_params")
    kept = params if isinstance(params, Mapping) else {}
    return {**row, "responses_create_params": {**kept, "input": fill_prompt(prompt_config, row)}}


def materialize_prompts(input_jsonl: str, prompt_config: str, output_jsonl: str) -> None:
    """Write a file of rows with prompts; each row tells the template in `prompt_config_used`.

    Args:
        input_jsonl: Rows without prompts.
        prompt_config: The template's file.
        output_jsonl: The file to write; its folder is made.

    Raises:
        ConfigError: The template is not there, or a line is no JSON.
        KeyError: A row lacks a field.
        ValueError: Rows have prompts already.
    """
    template, used = load_prompt_config(prompt_config), str(find(prompt_config))
    rows = _rows(Path(input_jsonl))
    validate_prompt_compatibility(rows, template)
    output = Path(output_jsonl)
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        for row in rows:
            made = apply_prompt_to_row(row, template) | {"prompt_config_used": used}
            file.write(orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE))


def _rows(path: Path) -> Sequence[Json]:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{path}, line {number}: {error}", "each line is one JSON object") from None
    return rows
