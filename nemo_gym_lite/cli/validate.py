"""`ng_validate`: checks a configuration, the code that it names and what that needs, without starting anything."""

import sys
from collections.abc import Sequence

import orjson
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from nemo_gym_lite.cli.common import EXIT_OK, asks_for_help, print_help, run_command, with_flags
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.requirements import check_requirements


class ValidateOptions(BaseModel):
    """Check a configuration as `ng_run` would, without starting anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_json: bool = Field(
        default=False, validation_alias=AliasChoices("json"), description="print it as JSON; the same as --json"
    )


def validate(argv: Sequence[str]) -> int:
    """Check and say what there is; returns the exit code."""
    if asks_for_help(argv):
        return print_help(ValidateOptions, "ng_validate")
    composed = compose(with_flags(argv), ValidateOptions)
    notes = check_requirements(composed.servers)
    servers = {each.name: f"{each.server_type}/{each.implementation}" for each in composed.servers}
    if composed.options.as_json:
        told = {"valid": True, "servers": servers, "notes": notes, "config_paths": [*map(str, composed.config_paths)]}
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return EXIT_OK
    for name, kind in servers.items():
        print(f"{name}: {kind}")
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    print(f"valid: {len(servers)} servers of {len(composed.config_paths)} files")
    return EXIT_OK


def main() -> int:
    """Entry point of the command."""
    return run_command(lambda: validate(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
