"""`ng_materialize_prompts`: makes the prompts of rows that have none from a template, into a new file."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.prompt import materialize_prompts
from nemo_gym_lite.rollouts.progress import say


class PromptOptions(BaseModel, frozen=True, extra="forbid"):
    """Write a file of rows whose prompts are made from a template, to look at them before they are played."""

    input_jsonl_fpath: Annotated[Path, Field(description="JSONL file of rows without prompts")]
    prompt_config: Annotated[Path, Field(description="YAML file with `user` and `system` templates")]
    output_jsonl_fpath: Annotated[Path, Field(description="JSONL file that the rows are written to")]


@command("ng_materialize_prompts", PromptOptions)
def main(argv: Sequence[str]) -> int:
    """Write the file; returns the exit code."""
    options = compose(argv, PromptOptions, needs_servers=False).options
    source, target = find(options.input_jsonl_fpath), options.output_jsonl_fpath
    if source is None or (target.exists() and source.samefile(target)):
        raise ConfigError(f"input_jsonl_fpath: no such file, or the output itself: {options.input_jsonl_fpath}")
    try:
        materialize_prompts(str(source), str(options.prompt_config), str(target))
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{source}: {error.args[0]}") from None
    say(f"rows with prompts: {target}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
