"""`ng_list`: environments, agents, models and benchmarks that the search roots hold; nothing is started."""

import sys
from collections.abc import Sequence
from typing import Annotated

import orjson
from pydantic import AliasChoices, BaseModel, Field
from rich.table import Table

from nemo_gym_lite.cli.common import EXIT_OK, command, with_flags
from nemo_gym_lite.config.catalogue import Entry, Kind, entries
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.tables import print_table

_USUAL: tuple[Kind, ...] = ("environments", "agents", "models")


class ListOptions(BaseModel, frozen=True, extra="forbid"):
    """List what the search roots hold, with domain and description, from their files alone."""

    kind: Annotated[Kind | None, Field(description="list this kind only; null: environments, agents and models")] = None
    query: Annotated[str | None, Field(description="list only what these words are in, or words like them")] = None
    component_name: Annotated[
        str | None, Field(validation_alias=AliasChoices("component_name", "name"), description="show this one in full")
    ] = None
    as_json: Annotated[
        bool, Field(validation_alias=AliasChoices("json"), description="print it as JSON; the same as --json")
    ] = False


@command("ng_list", ListOptions)
def main(argv: Sequence[str]) -> int:
    """Print the list; returns the exit code."""
    options = compose(with_flags(argv), ListOptions, needs_servers=False, environment={}).options
    kinds = _USUAL if options.kind is None else (options.kind,)
    found = [entry for kind in kinds for entry in entries(kind)]
    if options.component_name:
        found = _named(found, options.component_name)
    if options.query:
        found = [entry for entry in found if entry.matches(options.query)]
    if options.as_json:
        print(orjson.dumps([entry.as_json() for entry in found], option=orjson.OPT_INDENT_2).decode())
    elif options.component_name:
        for entry in found:
            _print_one(entry)
    else:
        for kind in kinds:
            if of_kind := [entry for entry in found if entry.kind == kind]:
                _print_table(kind, of_kind)
        print(f"{len(found)} found" if found else "nothing found")
    return EXIT_OK


def _named(found: Sequence[Entry], name: str) -> list[Entry]:
    if named := [entry for entry in found if entry.name == name]:
        return named
    hint = did_you_mean(name, [entry.name for entry in found], "`ng_list` shows all names")
    raise ConfigError(f"component_name: there is none named `{name}`", hint)


def _print_table(kind: str, found: Sequence[Entry]) -> None:
    """Print a kind; columns in which nothing stands are left out."""
    columns = [
        (kind, [entry.name for entry in found]),
        ("domain", [entry.domain for entry in found]),
        ("description", [entry.description for entry in found]),
        ("agents", [", ".join(entry.agents) for entry in found]),
    ]
    filled = [(title, values) for title, values in columns if any(values)]
    table = Table(*(title for title, _ in filled))
    for row in zip(*(values for _, values in filled), strict=True):
        table.add_row(*row)
    print_table(table)


def _print_one(entry: Entry) -> None:
    print(f"{entry.name} ({entry.kind}): {entry.description}")
    for title, values in (
        ("domain", [entry.domain]),
        ("folder", [entry.path]),
        ("configs", entry.configs),
        ("agents", entry.agents),
        ("data", entry.datasets),
    ):
        for value in filter(None, values):
            print(f"  {title}: {value}")


if __name__ == "__main__":
    sys.exit(main())
