"""`ng_validate`: checks a configuration, the code that it names and what that needs, without starting anything."""

import sys
from collections.abc import Sequence

import orjson
from pydantic import AliasChoices, BaseModel, Field

from nemo_gym_lite.cli.common import EXIT_OK, command, with_flags
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.requirements import check_requirements


class ValidateOptions(BaseModel, frozen=True, extra="forbid"):
    """Check a configuration as `ng_run` would, without starting anything."""

    as_json: bool = Field(
        default=False, validation_alias=AliasChoices("json"), description="print it as JSON; the same as --json"
    )


@command("ng_validate", ValidateOptions)
def main(argv: Sequence[str]) -> int:
    """Check and say what there is; returns the exit code."""
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


if __name__ == "__main__":
    sys.exit(main())
