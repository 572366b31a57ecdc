"""The rows of a data file: read one at a time, checked as an agent would check them, and finished for it."""

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from pydantic import ValidationError

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.wording import complaints
from nemo_gym_lite.config_types import AgentServerRef
from nemo_gym_lite.datasets.scope import Dataset
from nemo_gym_lite.datasets.statistics import DataStatistics
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.openai_utils import NeMoGymResponseCreateParamsNonStreaming
from nemo_gym_lite.prompt import PromptConfig, apply_prompt_to_row, load_prompt_config

MAX_TOLD = 10
"""Invalid rows of a file of which is said what is wrong with them."""


@dataclass(slots=True)
class Checked:
    """What a look at every row of a data file found.

    Attributes:
        dataset: The file.
        statistics: Of its valid rows.
        faults: What is wrong with the first invalid rows, each with file and line.
        invalid: Their numbers, all of them.
    """

    dataset: Dataset
    statistics: DataStatistics = field(default_factory=DataStatistics)
    faults: list[str] = field(default_factory=list)
    invalid: set[int] = field(default_factory=set)


def check(dataset: Dataset, *others: DataStatistics) -> Checked:
    """Look at every row, which goes into the statistics of more than this file, too.

    Raises:
        ConfigError: The file cannot be read, or its prompt cannot.
    """
    checked = Checked(dataset)
    prompt = _prompt(dataset)
    for number, text in _lines(dataset.path):
        try:
            row = _row(text, prompt)
            params = _validated(row)
        except ValueError as fault:
            checked.invalid.add(number)
            if len(checked.faults) < MAX_TOLD:
                checked.faults.append(f"{dataset.path}, line {number}: {fault}")
            continue
        for statistics in (checked.statistics, *others):
            statistics.add(row, params, dataset.config.num_repeats)
    return checked


def finished_rows(checked: Checked) -> Iterator[bytes]:
    """Yield the valid rows as lines, prompt applied and agent named, each as often as it is repeated."""
    dataset = checked.dataset
    prompt = _prompt(dataset)
    reference = AgentServerRef(name=dataset.agent_name).model_dump()
    for number, text in _lines(dataset.path):
        if number not in checked.invalid:
            row = {**_row(text, prompt), "agent_ref": reference}
            line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            for _ in range(dataset.config.num_repeats):
                yield line


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number and text of the lines that are not blank."""
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if stripped := (text.removeprefix(BOM_UTF8) if number == 1 else text).strip():
                    yield number, stripped
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _prompt(dataset: Dataset) -> PromptConfig | None:
    path = dataset.config.prompt_config
    return load_prompt_config(path) if path else None


def _row(text: bytes, prompt: PromptConfig | None) -> Json:
    """The row of a line, prompt applied.

    Raises:
        ValueError: It is none, or the prompt does not fit.
    """
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}: {_for_terminal(text[:80])}") from None
    if not isinstance(row, dict):
        raise ValueError(f"a JSON object is expected, not {type(row).__name__}")
    made: Json = row if prompt is None else _with_prompt(row, prompt)
    if not isinstance(made.get("responses_create_params"), dict):
        raise ValueError("`responses_create_params` is missing or not an object")
    return made


def _for_terminal(text: bytes) -> str:
    """Text without control characters, which a binary file would send to the terminal."""
    return "".join(each if each.isprintable() else "." for each in text.decode(errors="replace"))


def _with_prompt(row: Json, prompt: PromptConfig) -> Json:
    params = row.get("responses_create_params")
    if isinstance(params, dict) and params.get("input"):
        raise ValueError("its data set has a prompt_config, and it has `responses_create_params.input` already")
    try:
        return apply_prompt_to_row(row, prompt)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"the prompt does not fit: {error.args[0]}") from None


def _validated(row: Mapping[str, Json]) -> Json:
    try:
        params = NeMoGymResponseCreateParamsNonStreaming.model_validate(row["responses_create_params"])
    except ValidationError as error:
        raise ValueError(complaints(error, "responses_create_params")[0]) from None
    if params.input == "":
        raise ValueError("responses_create_params.input is empty")
    return params.model_dump(exclude_unset=True)
