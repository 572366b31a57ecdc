"""What the engine "knows": right answers by the text of the task, read from environments' data files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

ANSWER_FIELDS = ("expected_answer", "answer")


def read_answer_keys(paths: Iterable[Path]) -> dict[str, str]:
    """Right answers by task text (the last user message of a row's input, stripped).

    Rows without an answer are passed over. A path that is not there raises `FileNotFoundError`.
    """
    keys: dict[str, str] = {}
    for path in paths:
        with path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    _add(keys, orjson.loads(line))
    return keys


def _add(keys: dict[str, str], row: dict[str, Any]) -> None:
    answer = next((row[name] for name in ANSWER_FIELDS if row.get(name) is not None), None)
    given = row.get("responses_create_params", {}).get("input")
    if answer is None or given is None:
        return
    if isinstance(given, list):
        asked = [item.get("content") for item in given if item.get("role") == "user"]
        given = asked[-1] if asked else None
    if isinstance(given, list):
        given = "".join(part.get("text", "") for part in given)
    if isinstance(given, str):
        keys[given.strip()] = str(answer)
