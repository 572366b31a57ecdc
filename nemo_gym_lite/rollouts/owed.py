"""What a run still has to play: the plan of its input without what the output already holds."""

from collections.abc import Container, Iterator
from itertools import chain

from nemo_gym_lite.rollouts.manifest import Manifest
from nemo_gym_lite.rollouts.overtaken import overtaken_specs
from nemo_gym_lite.rollouts.plan import Spec, plan
from nemo_gym_lite.rollouts.progress import Tally, say
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.resume import Done
from nemo_gym_lite.rollouts.source import read_tasks


def owed_specs(request: Request, done: Done, manifest: Manifest, tally: Tally) -> Iterator[Spec]:
    """What the input still owes, after what an earlier, cut off run on another input had in flight.

    Args:
        request: What is asked.
        done: What the output holds.
        manifest: Names the earlier inputs.
        tally: Counts what is kept and given up, as the plan comes by it.
    """
    late = overtaken_specs(manifest, request.settings, request.summary.digest, done)
    if late:
        say(f"first finishing {len(late)} rollouts of an earlier input that were in flight when it was cut off")
        tally.total += len(late)
    played = {spec.identity for spec in late}
    tasks = read_tasks(request.input, request.options.limit)
    return chain(late, still_owed(plan(tasks, request.settings, request.summary.tasks), done, tally, played))


def still_owed(specs: Iterator[Spec], done: Done, tally: Tally, played: Container[int] = frozenset()) -> Iterator[Spec]:
    """Those specs that are neither delivered nor given up.

    Args:
        specs: What is asked for.
        done: What the output holds.
        tally: Counts what is kept and given up.
        played: Identities that are played elsewhere.
    """
    for spec in specs:
        if done.delivered(spec) or spec.identity in played:
            tally.kept += 1
        elif done.gave_up(spec):
            tally.given_up += 1
        else:
            yield spec
