"""`ng_dump_config`: prints the composed configuration, resolved, with secrets masked."""

import sys
from collections.abc import Sequence

import yaml
from pydantic import BaseModel, ConfigDict

from nemo_gym_lite.cli.common import EXIT_OK, asks_for_help, print_help, run_command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.masking import mask_secrets


class DumpOptions(BaseModel):
    """Print the configuration that a command line composes, resolved, with secrets masked."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def dump_config(argv: Sequence[str]) -> int:
    """Print the tree as YAML; returns the exit code."""
    if asks_for_help(argv):
        return print_help(DumpOptions, "ng_dump_config")
    composed = compose(argv, DumpOptions, needs_servers=False)
    yaml.safe_dump(mask_secrets(composed.tree), sys.stdout, sort_keys=False, allow_unicode=True)
    return EXIT_OK


def main() -> int:
    """Entry point of the command."""
    return run_command(lambda: dump_config(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
