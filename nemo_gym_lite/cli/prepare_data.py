"""`ng_prepare_data`: checks and counts the data files of agents, and makes one file of those of each type."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from rich.table import Table

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.datasets.prepare import Prepared, prepare
from nemo_gym_lite.datasets.scope import TYPES, Mode, datasets_in_scope, read_blocks
from nemo_gym_lite.rollouts.progress import say
from nemo_gym_lite.rollouts.tables import print_table

_OTHER_MODE: dict[Mode, str] = {
    "train_preparation": "+mode=example_validation",
    "example_validation": "+mode=train_preparation",
}


class PrepareOptions(BaseModel, frozen=True, extra="forbid"):
    """Check every row of the agents' data files, count what they hold, and put those of each type into one file."""

    output_dirpath: Annotated[Path, Field(description="folder for TYPE.jsonl and TYPE_metrics.json")]
    mode: Annotated[
        Mode,
        Field(
            description="train_preparation: data sets of the types train, validation, benchmark; or those of example"
        ),
    ] = "train_preparation"
    drop_invalid: Annotated[bool, Field(description="leave invalid rows out; by default they stop the command")] = False
    overwrite_metrics_conflicts: Annotated[
        bool, Field(description="replace metrics files that say something else; by default they stop the command")
    ] = False
    should_download: Annotated[
        bool, Field(description="accepted for NeMo Gym's sake; nothing is downloaded, what is missing is named")
    ] = False
    data_source: Annotated[
        Literal["huggingface", "gitlab"], Field(description="accepted for NeMo Gym's sake, as should_download")
    ] = "huggingface"


@command("ng_prepare_data", PrepareOptions)
def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options, blocks = read_blocks(argv, PrepareOptions)
    made = prepare(
        datasets_in_scope(blocks, TYPES[options.mode], _OTHER_MODE[options.mode]),
        options.output_dirpath,
        drop_invalid=options.drop_invalid,
        overwrite_metrics=options.overwrite_metrics_conflicts,
        show=say,
    )
    _print(made)
    return EXIT_OK


def _print(made: Sequence[Prepared]) -> None:
    table = Table("type", "data files", "rows", "left out", "file")
    for each in made:
        table.add_row(each.type, str(each.files), str(each.rows), str(each.dropped), str(each.path))
    print_table(table)


if __name__ == "__main__":
    sys.exit(main())
