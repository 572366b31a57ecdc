"""The datasets of the library reasoning-gym: which there are, how one is made, how it scores an answer.

The library takes seconds to import, so this is done when it is first needed, and in the process that needs it.
"""

import importlib
from dataclasses import fields
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError

_NO_TASKS = {"composite"}
"""Registered by the library as datasets, but without tasks of their own."""

_OF_TUPLES = {"arc_agi", "rearc"}
"""Datasets whose rules compare grids with tuples of tuples, which a file gives back as lists."""

_KEPT = 256
"""Datasets kept ready to score; the library has about a hundred, each with few settings in one run."""


class Score(NamedTuple):
    """What a dataset says about an answer.

    Attributes:
        value: From 0 to 1; many datasets give a part of it for answers that are nearly right or in the right form.
        complaint: Why the dataset could not read the answer, empty if it could.
    """

    value: float
    complaint: str = ""


def library() -> ModuleType:
    """The package `reasoning_gym`.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module("reasoning_gym")
    except ModuleNotFoundError as error:
        hint = 'pip install "nemo-gym-lite[reasoning-gym]"'
        raise ConfigError(f"the package reasoning-gym cannot be imported: {error}", hint) from error


def dataset_names() -> list[str]:
    """The names of all datasets, sorted."""
    return sorted(set(_registered()) - _NO_TASKS)


def make_dataset(name: str, settings: Json, **more: int) -> Any:
    """A dataset of the library: tasks by index, and `score_answer`.

    Args:
        name: As the library registers it, for instance `leg_counting`.
        settings: The dataset's own, for instance `{"max_animals": 5}`.
        more: What every dataset has: `seed` and `size`.

    Raises:
        ConfigError: There is no such dataset, or it does not take these settings.
    """
    if name not in (names := dataset_names()):
        hint = did_you_mean(name, names, f"there are {', '.join(names)}")
        raise ConfigError(f"reasoning-gym has no dataset `{name}`", hint)
    try:
        return library().create_dataset(name, **settings, **more)
    except (AssertionError, TypeError, ValueError) as error:
        known = [each.name for each in fields(_registered()[name][1]) if each.name not in {"seed", "size"}]
        hint = f"its settings are {', '.join(known)}"
        raise ConfigError(f"dataset {name} does not take the settings {settings}: {error}", hint) from error


def _registered() -> dict[str, Any]:
    """Class, settings and curriculum of each dataset."""
    library()
    found: dict[str, Any] = importlib.import_module("reasoning_gym.factory").DATASETS
    return found


def score(entry: Json, answer: str | None, settings: Json) -> Score:
    """Score an answer with the dataset that the task is from.

    A dataset that fails at this answer, and not at the right one, could not read it: that is worth 0.

    Args:
        entry: `question`, `answer` and `metadata` of the task, as the library made them.
        answer: What the model says, None if nothing.
        settings: Those with which the dataset was made.

    Raises:
        ConfigError: There is no such dataset.
        Exception: Whatever the dataset raises at the right answer: the task is broken.
    """
    name = entry["metadata"]["source_dataset"]
    scorer = _scorer(name, orjson.dumps(settings, option=orjson.OPT_SORT_KEYS))
    if name in _OF_TUPLES:
        entry = {**entry, "metadata": _with_tuples(entry["metadata"])}
    try:
        return Score(float(scorer.score_answer(answer, entry)))
    except MemoryError:
        raise
    except Exception as error:  # datasets parse what models say, and raise anything when they cannot
        scorer.score_answer(entry["answer"], entry)
        return Score(0.0, f"{type(error).__name__}: {error}")


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_tuples(each) for name, each in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


@lru_cache(maxsize=_KEPT)
def _scorer(name: str, settings: bytes) -> Any:
    return make_dataset(name, orjson.loads(settings))
