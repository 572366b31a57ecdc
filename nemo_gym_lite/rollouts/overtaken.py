"""Finds rollouts that an earlier run on another input had in flight when it was cut off.

People resume by hand: count the output's lines, `tail` the rest of the input into a new file, run again. Rollouts
land in completion order, so that recipe skips up to a run's concurrency of tasks. Whoever comes with another input
for the same output gets those finished too: exactly the rollouts that the plan of the earlier input had already
passed, and no more, so an input that was given up on purpose is not played to its end.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.manifest import InputEntry, Manifest
from nemo_gym_lite.rollouts.plan import PlanSettings, Spec, plan
from nemo_gym_lite.rollouts.resume import Done
from nemo_gym_lite.rollouts.source import check_input, read_tasks


def overtaken_specs(manifest: Manifest, settings: PlanSettings, digest: str, done: Done) -> list[Spec]:
    """The rollouts of earlier, unfinished inputs that later rollouts of the same input have overtaken.

    Args:
        manifest: The output's record of inputs.
        settings: How this run makes specs; agent and repeats are those of the earlier run.
        digest: The input of this run, which is played anyway.
        done: What the output holds.
    """
    specs: list[Spec] = []
    for entry in manifest.inputs:
        if not entry.finished and entry.digest != digest and done.rows:
            specs += _of_entry(entry, settings, done)
    return specs


def _of_entry(entry: InputEntry, settings: PlanSettings, done: Done) -> list[Spec]:
    path = Path(entry.path)
    earlier = replace(settings, agent_name=entry.agent_name, repeats=entry.num_repeats)
    try:
        if check_input(path, earlier, entry.limit).digest != entry.digest:
            return []
    except ConfigError:
        return []  # the file is gone or has changed, so nobody can say what was in flight
    last = max((at for at, spec in enumerate(_specs(path, entry, earlier)) if done.delivered(spec)), default=-1)
    return [spec for spec in islice(_specs(path, entry, earlier), last + 1) if done.owed(spec)]


def _specs(path: Path, entry: InputEntry, settings: PlanSettings) -> Iterator[Spec]:
    return plan(read_tasks(path, entry.limit), settings, entry.tasks)
