"""`ng_export_rollouts`: writes scored rollouts as data to train on."""

import sys
from collections.abc import Sequence

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.progress import say
from nemo_gym_lite.training.export import export
from nemo_gym_lite.training.options import ExportOptions


@command("ng_export_rollouts", ExportOptions)
def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    options = compose(argv, ExportOptions, needs_servers=False).options
    source, target = find(options.rollouts_jsonl_fpath), options.output_fpath
    if source is None or not source.is_file():
        raise ConfigError(f"rollouts_jsonl_fpath: no such file: {options.rollouts_jsonl_fpath}")
    if target.exists() and not options.overwrite:
        raise ConfigError(
            f"output_fpath: {target} is there already", "name another file, or replace it with +overwrite=true"
        )
    made = export(source, options)
    say(f"{made.written} rows of {made.rollouts} rollouts: {target}")
    for what, counts in (("rollouts", made.left_out), ("groups", made.groups_left_out)):
        for reason, count in sorted(counts.items()):
            say(f"left out: {count} {what}, {reason}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
