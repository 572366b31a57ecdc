"""Reads a file of arms, and refuses what would be played otherwise than it looks."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from nemo_gym_lite.arms.arm import Arm
from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.roots import find, locations
from nemo_gym_lite.config.wording import complaints
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.plan import PlanSettings
from nemo_gym_lite.rollouts.source import check_params


class _ArmsFile(BaseModel, extra="forbid"):
    arms: list[Arm]


def load_arms(path: Path) -> tuple[Arm, ...]:
    """Read the arms of a file, which is looked for in the search roots.

    Raises:
        ConfigError: There is no such file, it holds no arm, keys that no arm has, or two arms of one name.
    """
    found = find(path)
    if found is None or not found.is_file():
        places = "\n".join(f"  {place}" for place in locations(path))
        raise ConfigError(f"arms_fpath: no such file: {path}; searched\n{places}")
    try:
        arms = _ArmsFile.model_validate(read_yaml(found)).arms
    except ValidationError as error:
        lines = "; ".join(complaints(error))
        raise ConfigError(
            f"arms_fpath: {found}: {lines}",
            "it holds `arms`, a list whose entries have name, system, user, responses_create_params; only name must be",
        ) from None
    names = [arm.name for arm in arms]
    if not arms:
        raise ConfigError(f"arms_fpath: {found} holds no arm")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"arms_fpath: {found} has two arms of the name {twice!r}", "rows are told apart by it")
    for arm in arms:
        where = f"{found}: arm {arm.name}: responses_create_params"
        check_params(arm.responses_create_params, where)
        if "input" in arm.responses_create_params:
            raise ConfigError(f"{where}: `input` is the prompt", "write it as `system` and `user`")
    return tuple(arms)


def in_flight(tasks: int | None, rollouts: int | Literal["auto"], settings: PlanSettings) -> int | Literal["auto"]:
    """Rollouts in flight at once, by `question_batch_size` or `num_samples_in_parallel`; of several agents' repeats
    the most count.

    Raises:
        ConfigError: Both are given.
    """
    if tasks is None:
        return rollouts
    if rollouts != "auto":
        raise ConfigError("question_batch_size and num_samples_in_parallel both say how much is in flight", "give one")
    repeats = settings.repeats if isinstance(settings.repeats, int) else max(settings.repeats.values())
    return tasks * max(1, len(settings.arms)) * repeats
