"""Prompt templates: one YAML file with `user` and `system` makes the prompts of rows that have none."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.config.wording import complaints
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import replacing


class PromptConfig(BaseModel):
    """Templates in which `{field}` stands for a top-level field of the row, and `{{ }}` for braces.

    Attributes:
        user: The user's message.
        system: The system's message, if there is to be one.
    """

    model_config = ConfigDict(extra="forbid")

    user: str
    system: str | None = None


def load_prompt_config(path: str) -> PromptConfig:
    """Read a template; the search roots are searched, and a file is read once.

    Raises:
        ConfigError: The file is not there, or is no template.
    """
    found = find(path)
    if found is None:
        raise ConfigError(f"prompt_config: no such file: {path}")
    return _template(found.absolute())


@lru_cache(maxsize=64)
def _template(found: Path) -> PromptConfig:
    return _load(found.absolute())


@lru_cache(maxsize=64)
def _load(path: Path) -> PromptConfig:
    try:
        return PromptConfig.model_validate(read_yaml(path))
    except ValidationError as error:
        lines = "; ".join(complaints(error))
        raise ConfigError(f"prompt_config: {path}: {lines}", "it holds `user` and, optionally, `system`") from None


def fill_prompt(prompt_config: PromptConfig, row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the messages of a row: the system's, if there is one, and the user's.

    Raises:
        KeyError: The template names a field that the row does not have.
        ValueError: The template has a brace too many.
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
    except ValueError as error:
        raise ValueError(f"the template cannot be filled: {error}; a brace of the text is written twice") from None


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
        ConfigError: The template or the rows cannot be read, or a line is no JSON object.
        KeyError: A row lacks a field.
        OutputError: The file cannot be written.
        ValueError: Rows have prompts already, or the template has a brace too many.
    """
    template, used = load_prompt_config(prompt_config), str(find(prompt_config))
    rows = _rows(Path(input_jsonl))
    validate_prompt_compatibility(rows, template)
    with replacing(Path(output_jsonl)) as file:
        for row in rows:
            made = apply_prompt_to_row(row, template) | {"prompt_config_used": used}
            file.write(orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE))


def _rows(path: Path) -> Sequence[Json]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{path}, line {number}: not JSON: {error}", "each line is one JSON object") from None
        if not isinstance(row, dict):
            raise ConfigError(f"{path}, line {number}: a JSON object is expected, not {type(row).__name__}")
        rows.append(row)
    return rows
