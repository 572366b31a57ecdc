"""`ng_collect_rollouts`: tasks in, scored rollouts out, every one exactly once."""

import logging
import signal
import sys
from collections.abc import Sequence

import uvloop

from nemo_gym_lite.cli.common import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_SOME_FAILED,
    EXIT_STOPPED_BY_BUDGET,
    command,
)
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.rollouts.collection import Outcome
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.progress import TerminalLog, first_lines, say
from nemo_gym_lite.rollouts.request import Request, make_request
from nemo_gym_lite.rollouts.run import run
from nemo_gym_lite.serving.server import prepare_for_load


@command("ng_collect_rollouts", CollectOptions, outlives_threads=True)
def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 all delivered, 2 wrong usage, 3 some failed, 4 out of budget,
    130 interrupted.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # answered once rollouts play; until then it must not kill
    composed = compose(argv, CollectOptions, needs_servers=False)
    request = make_request(composed.options)
    logging.basicConfig(level=logging.WARNING, handlers=[TerminalLog()])
    prepare_for_load()
    return _report(request, uvloop.run(run(composed, request)))


def _report(request: Request, outcome: Outcome) -> int:
    tally, files = outcome.tally, request.files
    rate = tally.delivered / max(outcome.elapsed_s, 1e-9)
    say(f"{tally.delivered} rollouts in {outcome.elapsed_s:.1f} s ({rate:.1f}/s), {tally.kept} kept from before")
    if outcome.held_back:
        say(str(outcome.held_back))
    for agent, metrics in outcome.key_metrics.items():
        shown = ", ".join(f"{name}={value:.4g}" for name, value in _flat(metrics).items())
        say(f"{agent}: {shown}")
    if tally.failed:
        say(f"{tally.failed} failed: {files.failures}")
        for name, count in tally.failure_classes.items():
            say(f"  {count} {name}, for instance: {first_lines(tally.first_failures[name])}")
    if tally.given_up:
        attempts = request.options.max_rollout_attempts
        say(f"{tally.given_up} failed for good or {attempts} times in earlier runs and were not tried again:")
        say(f"  {files.failures}; +max_rollout_attempts={attempts + 1} tries those again that failed {attempts} times")
    say(f"rollouts: {files.rollouts}")
    if request.options.verify == "deferred":
        scored = files.rollouts.with_stem(f"{files.rollouts.stem}_scored")
        say("not scored yet: with the same config_paths, this scores them:")
        say(f"  ng_verify_rollouts +input_jsonl_fpath={files.rollouts} +output_jsonl_fpath={scored}")
    if outcome.key_metrics:
        say(f"metrics:  {files.metrics}")
    if outcome.budget:
        say(f"stopped by {outcome.budget}; the same command goes on from here as soon as its budget allows")
        return EXIT_STOPPED_BY_BUDGET
    if outcome.interrupted:
        say("interrupted; the same command goes on where this one stopped")
        return EXIT_INTERRUPTED
    return EXIT_SOME_FAILED if tally.failed or tally.given_up else EXIT_OK


def _flat(metrics: dict[str, object]) -> dict[str, float]:
    """The averages as the user's documents show them: `reward=0.73`, without `mean/`."""
    return {name.removeprefix("mean/"): value for name, value in metrics.items() if isinstance(value, int | float)}


if __name__ == "__main__":
    sys.exit(main())
