"""What the engine "knows": right answers and right rollouts by the text of the task, read from environments' data."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from nemo_gym_lite.config.roots import locations
from responses_api_models.simulated_model.answers import Answer, answer_of
from responses_api_models.simulated_model.references import Reference

ANSWER_FIELDS = ("expected_answer", "answer")


@dataclass(slots=True)
class Knowledge:
    """What the engine knows.

    Attributes:
        answers: Right answers by the text of the last user message, stripped.
        references: Right rollouts by the text of the first user message, stripped.
    """

    answers: dict[str, str] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)


def key_files(paths: Iterable[str | Path]) -> tuple[Path, ...]:
    """The files that paths and patterns (`resources_servers/*/data/example.jsonl`) name, in every search root.

    Raises:
        FileNotFoundError: Some name no file; they are in the message.
    """
    found: dict[Path, Path] = {}
    missing = []
    for path in map(Path, paths):
        matches = list(_matches(path))
        missing += [] if matches else [str(path)]
        for short, place in matches:
            found.setdefault(short, place)
    if missing:
        raise FileNotFoundError(f"no such file: {', '.join(missing)}")
    return tuple(found.values())


def _matches(path: Path) -> Iterable[tuple[Path, Path]]:
    """(path below its search root, where it is) of each match, the best root first."""
    if "*" not in str(path):
        yield from [(path, place) for place in locations(path) if place.exists()][:1]
        return
    for place in locations(path):
        root = Path(place.anchor) if path.is_absolute() else place.parents[len(path.parts) - 1]
        for match in sorted(root.glob(str(place.relative_to(root)))):
            yield match.relative_to(root), match


def read_answer_keys(paths: Iterable[Path]) -> Knowledge:
    """Read rows of environments.

    Rows that say nothing about their answer are passed over, and so are lines that are no rows: whether data is valid
    is for those to say who play it. A path that is not there raises `FileNotFoundError`.
    """
    known = Knowledge()
    for path in paths:
        with path.open("rb") as lines:
            for line in lines:
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(row, dict):
                    _add(known, row)
    return known


def _add(known: Knowledge, row: dict[str, Any]) -> None:
    params = row.get("responses_create_params")
    given = params.get("input") if isinstance(params, dict) else None
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list):
        return
    messages = [item for item in items if isinstance(item, dict)]
    asked = [text for item in messages if item.get("role") == "user" and (text := _text(item.get("content")))]
    if not asked:
        return
    if turns := _turns(row.get("reference_turns")):
        known.references[asked[0]] = Reference(turns, sum(item.get("role") == "assistant" for item in messages))
    answer = next((row[name] for name in ANSWER_FIELDS if row.get(name) is not None), None)
    if isinstance(answer, str | int | float):
        known.answers[asked[-1]] = str(answer)


def _turns(given: object) -> tuple[Answer, ...]:
    try:
        return tuple(map(answer_of, given)) if isinstance(given, list) else ()
    except (AttributeError, KeyError, TypeError):
        return ()


def _text(content: object) -> str:
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content.strip() if isinstance(content, str) else ""
