"""`ng_e2e_collect_rollouts`: prepares the data sets that a configuration names and collects rollouts of them."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from nemo_gym_lite.cli import collect_rollouts
from nemo_gym_lite.cli.common import command
from nemo_gym_lite.config.blocks import Block
from nemo_gym_lite.datasets.prepare import prepare
from nemo_gym_lite.datasets.scope import datasets_in_scope, read_blocks
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.progress import say

_OWN = re.compile(r"\+{0,2}(split|reuse_existing_data_preparation)=")

_INPUT = Field(description="play this file instead of the data sets of the configuration")


class WholeOptions(CollectOptions):
    """Prepare the data of one split and collect rollouts of it; takes all options of ng_collect_rollouts, too."""

    input_jsonl_fpath: Annotated[Path | None, _INPUT] = None  # type: ignore[assignment]  # which a run must have
    split: Annotated[
        Literal["train", "validation", "benchmark", "example"] | None,
        Field(description="the type of data sets to play; needed without input_jsonl_fpath"),
    ] = None
    reuse_existing_data_preparation: Annotated[
        bool, Field(description="play what an earlier run prepared, unchecked")
    ] = False


@command("ng_e2e_collect_rollouts", WholeOptions)
def main(argv: Sequence[str]) -> int:
    """Prepare the data, then run `ng_collect_rollouts` on it; returns the exit code."""
    options, blocks = read_blocks(argv, WholeOptions)
    rest = [token for token in argv if not _OWN.match(token)]
    if options.input_jsonl_fpath is None:
        rest.append(f"+input_jsonl_fpath='{_prepared(options, blocks)}'")
    sys.argv = ["ng_collect_rollouts", *rest]
    return collect_rollouts.main()


def _prepared(options: WholeOptions, blocks: Sequence[Block]) -> Path:
    """The file of all rows of the split, made anew unless an earlier one is to be played."""
    if options.split is None:
        raise ConfigError("neither split nor input_jsonl_fpath is given", "add +split=train, for instance")
    folder = options.output_jsonl_fpath.with_suffix("") / "preprocessed_datasets"
    path = folder / f"{options.split}.jsonl"
    if options.reuse_existing_data_preparation and path.is_file():
        return path
    datasets = datasets_in_scope(blocks, [options.split], "+split={}")
    prepare(datasets, folder, drop_invalid=False, overwrite_metrics=False, show=say)
    return path


if __name__ == "__main__":
    sys.exit(main())
