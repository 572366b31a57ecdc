"""`ng_dump_config`: prints the composed configuration, resolved, with secrets masked."""

import sys
from collections.abc import Sequence

import yaml
from pydantic import BaseModel

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.masking import mask_secrets


class DumpOptions(BaseModel, frozen=True, extra="forbid"):
    """Print the configuration that a command line composes, resolved, with secrets masked."""


@command("ng_dump_config", DumpOptions)
def main(argv: Sequence[str]) -> int:
    """Print the tree as YAML; returns the exit code."""
    composed = compose(argv, DumpOptions, needs_servers=False)
    yaml.safe_dump(mask_secrets(composed.tree), sys.stdout, sort_keys=False, allow_unicode=True)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
