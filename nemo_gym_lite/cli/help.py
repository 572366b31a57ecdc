"""`ng_help`: all commands, one line each."""

import sys
from collections.abc import Sequence

from pydantic import BaseModel

from nemo_gym_lite.cli.commands import COMMANDS
from nemo_gym_lite.cli.common import EXIT_OK, command


class HelpOptions(BaseModel, frozen=True, extra="forbid"):
    """Print all commands, one line each, with the way in which `gym` spells them."""


def overview(group: str = "") -> str:
    """The list of commands as text, or of those that `gym` spells with `group` first."""
    shown = [each for each in COMMANDS if group in ("", each.spelled.split()[0])]
    name = max(len(each.script) for each in shown)
    spelled = max(len(each.spelled) for each in shown)
    lines = (f"  {each.script:{name}}  gym {each.spelled:{spelled}}  {each.purpose}".rstrip() for each in shown)
    ending = "`COMMAND --help` prints a command's options. `ng` is `gym`, and each `ng_X` is `nemo_gym_X`, too."
    return "\n".join(["commands:", *lines, "", ending])


@command("ng_help", HelpOptions)
def main(argv: Sequence[str]) -> int:
    """Print the list; returns the exit code."""
    print(overview())
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
