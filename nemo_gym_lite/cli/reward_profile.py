"""`ng_reward_profile`: for each task how often and how well it was solved, from an output and without servers."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, Field

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.profile import Profile, write_profile
from nemo_gym_lite.rollouts.progress import say


class ProfileOptions(BaseModel, frozen=True, extra="forbid"):
    """Write statistics of each task's rollouts beside its input row, and of each agent's."""

    rollouts_jsonl_fpath: Annotated[Path, Field(description="output of ng_collect_rollouts")]
    materialized_inputs_jsonl_fpath: Annotated[
        Path | None,
        Field(
            validation_alias=AliasChoices("materialized_inputs_jsonl_fpath", "input_jsonl_fpath"),
            description="the tasks that were played; null makes each task's row from its first rollout",
        ),
    ] = None
    allow_partial_rollouts: Annotated[bool, Field(description="go on although rollouts are missing")] = False


@command("ng_reward_profile", ProfileOptions)
def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options = compose(argv, ProfileOptions, needs_servers=False).options
    inputs = options.materialized_inputs_jsonl_fpath
    made = write_profile(
        _existing("rollouts_jsonl_fpath", options.rollouts_jsonl_fpath),
        _existing("materialized_inputs_jsonl_fpath", inputs) if inputs else None,
        allow_partial=options.allow_partial_rollouts,
    )
    _report(made)
    return EXIT_OK


def _existing(name: str, path: Path) -> Path:
    found = find(path)
    if found is None or not found.is_file():
        raise ConfigError(f"{name}: no such file: {path}")
    return found


def _report(made: Profile) -> None:
    share = 100.0 * made.rollouts / max(1, made.expected)
    say(f"{made.rollouts} of {made.expected} rollouts ({share:.2f} %)")
    say(f"{made.complete} tasks complete, {made.partial} in part, {made.without} without a rollout and left out")
    if made.malformed:
        say(f"{made.malformed} lines are no rollouts and were passed over")
    say(f"tasks:  {made.tasks}")
    say(f"agents: {made.agents}")


if __name__ == "__main__":
    sys.exit(main())
