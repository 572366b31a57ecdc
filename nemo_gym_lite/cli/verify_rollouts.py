"""`ng_verify_rollouts`: stored rollouts in, scored rollouts out, every one exactly once."""

import logging
import signal
import sys
from collections.abc import Sequence

import uvloop

from nemo_gym_lite.cli.common import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED, command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.progress import TerminalLog, first_lines, say
from nemo_gym_lite.rollouts.stored import read_stored
from nemo_gym_lite.rollouts.verification import Rescored, Verified
from nemo_gym_lite.rollouts.verify_options import VerifyOptions
from nemo_gym_lite.rollouts.verify_run import verify
from nemo_gym_lite.serving.server import prepare_for_load


@command("ng_verify_rollouts", VerifyOptions, outlives_threads=True)
def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 all scored, 2 wrong usage, 3 some failed, 130 interrupted."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # answered once checks run; until then it must not kill
    composed = compose(argv, VerifyOptions, needs_servers=False)
    stored = read_stored(composed.options.input_path())
    logging.basicConfig(level=logging.WARNING, handlers=[TerminalLog()])
    prepare_for_load()
    return _report(composed.options, uvloop.run(verify(composed, stored)))


def _report(options: VerifyOptions, verified: Verified) -> int:
    tally, files = verified.tally, OutputFiles(options.output_jsonl_fpath)
    rate = tally.delivered / max(verified.elapsed_s, 1e-9)
    say(
        f"{tally.delivered} rollouts scored in {verified.elapsed_s:.1f} s ({rate:.1f}/s), {tally.kept} kept from before"
    )
    if tally.mean_reward is not None:
        say(f"mean reward: {tally.mean_reward:.4g}")
    _report_changes(verified.rescored)
    if tally.failed:
        say(f"{tally.failed} failed: {files.failures}")
        for name, count in tally.failure_classes.items():
            say(f"  {count} {name}, for instance: {first_lines(tally.first_failures[name])}")
    if tally.given_up:
        say(f"{tally.given_up} failed for good or too often in earlier runs and were not tried again: {files.failures}")
    say(f"rollouts: {files.rollouts}")
    say(f"metrics:  {files.metrics}")
    if verified.interrupted:
        say("interrupted; the same command goes on where this one stopped")
        return EXIT_INTERRUPTED
    return EXIT_SOME_FAILED if tally.failed or tally.given_up else EXIT_OK


def _report_changes(changes: Rescored) -> None:
    if count := changes.rollouts:
        say(
            f"of {count} that had a reward, {changes.up} went up, {changes.down} went down, {changes.equal} stayed; "
            f"their mean was {changes.before / count:.4g} and is {changes.after / count:.4g}"
        )


if __name__ == "__main__":
    sys.exit(main())
