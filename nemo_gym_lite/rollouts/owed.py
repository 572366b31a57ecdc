"""What a run still has to play: the plan of its input without what the output already holds.

People resume by hand: count the output's lines, `tail` the rest of the input into a new file, run again. Rollouts
land in completion order, so that recipe skips up to a run's concurrency of tasks. Whoever comes with another input
for the same output gets those finished too: exactly the rollouts that the plan of the earlier input had already
passed, and no more, so an input that was given up on purpose is not played to its end.
"""

from collections.abc import Container, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.manifest import InputEntry, Manifest
from nemo_gym_lite.rollouts.plan import PlanSettings, Spec, plan
from nemo_gym_lite.rollouts.progress import Tally, say
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.resume import Done
from nemo_gym_lite.rollouts.source import check_input, read_tasks


def owed_specs(
    request: Request, done: Done, manifest: Manifest, tally: Tally, *, quietly: bool = False
) -> Iterator[Spec]:
    """What the input still owes, after what an earlier, cut off run on another input had in flight."""
    late: list[Spec] = []
    for entry in manifest.inputs if done.rows else ():
        if not entry.finished and entry.digest != request.summary.digest:
            late += _overtaken(entry, request.settings, done)
    if late and not quietly:
        say(f"first finishing {len(late)} rollouts of an earlier input that were in flight when it was cut off")
        tally.total += len(late)
    played = {spec.identity for spec in late}
    tasks = read_tasks(request.input, request.options.limit)
    return chain(late, still_owed(plan(tasks, request.settings, request.summary.tasks), done, tally, played))


def still_owed(specs: Iterator[Spec], done: Done, tally: Tally, played: Container[int] = frozenset()) -> Iterator[Spec]:
    """Those specs that are neither delivered nor given up, which `tally` counts, nor `played` elsewhere."""
    for spec in specs:
        if done.delivered(spec) or spec.identity in played:
            tally.kept += 1
        elif done.gave_up(spec):
            tally.given_up += 1
        else:
            yield spec


def _overtaken(entry: InputEntry, settings: PlanSettings, done: Done) -> list[Spec]:
    """The rollouts of an earlier, unfinished input that later rollouts of it have overtaken."""
    path = Path(entry.path)
    earlier = replace(settings, agent_name=entry.agent_name, repeats=entry.num_repeats)
    try:
        if check_input(path, earlier, entry.limit).digest != entry.digest:
            return []
    except ConfigError:
        return []  # the file is gone or has changed, so nobody can say what was in flight

    def specs() -> Iterator[Spec]:
        return plan(read_tasks(path, entry.limit), earlier, entry.tasks)

    last = max((at for at, spec in enumerate(specs()) if done.delivered(spec)), default=-1)
    return [spec for spec in islice(specs(), last + 1) if done.owed(spec)]
