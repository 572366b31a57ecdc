"""`ng_test_all`: runs the tests of all environments, each in a process of its own, and says how each ended."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt
from rich.table import Table

from nemo_gym_lite.cli.common import EXIT_INTERNAL, EXIT_OK, command
from nemo_gym_lite.config.components import components
from nemo_gym_lite.config.compose import Composed, compose
from nemo_gym_lite.config.keys import SERVER_TYPES
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.progress import say
from nemo_gym_lite.rollouts.tables import print_table
from nemo_gym_lite.serving.environment_tests import PytestCall, pytest_calls


class AllTestOptions(BaseModel, frozen=True, extra="forbid"):
    """Run the tests of every server's folder in all search roots; ends with 1 if any failed."""

    jobs: Annotated[PositiveInt | None, Field(description="folders at once; null: one for each core")] = None
    isolate: Annotated[
        bool | None, Field(description="build each an environment of its own; null: as its configuration says")
    ] = None
    timeout_s: Annotated[float, Field(gt=0, description="seconds that one folder's tests may take")] = 900.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How the tests of one folder ended; `outcome` is `passed` or says what else happened."""

    folder: Path
    outcome: str
    summary: str
    seconds: float
    output: str = ""


@command("ng_test_all", AllTestOptions)
def main(argv: Sequence[str]) -> int:
    """Run the tests; returns the exit code."""
    composed = compose(argv, AllTestOptions, needs_servers=False)
    folders = [
        component.folder
        for parent in SERVER_TYPES
        for component in components(parent, "*/app.py")
        if (component.folder / "tests").is_dir()
    ]
    if not folders:
        raise ConfigError("no server's folder in the search roots has tests")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what the tests started ends as with Ctrl-C
    ended = asyncio.run(_run_all(folders, composed))
    for each in ended:
        if each.output:
            print(f"\n{'=' * 20} {_short(each.folder)}\n{each.output}")
    _print(ended)
    failed = [each for each in ended if each.outcome != "passed"]
    print(f"{len(ended)} folders tested, {len(failed)} failed")
    return EXIT_INTERNAL if failed else EXIT_OK


async def _run_all(folders: Sequence[Path], composed: Composed[AllTestOptions]) -> list[Ended]:
    options = composed.options
    calls = await pytest_calls(folders, composed.tree, isolate=options.isolate, show=say)
    slots = asyncio.Semaphore(options.jobs or os.cpu_count() or 1)

    async def run(call: PytestCall) -> Ended:
        async with slots:
            ended = await _run(call, options.timeout_s)
        say(f"{_short(call.folder)}: {ended.outcome}, {ended.summary}")
        return ended

    return await asyncio.gather(*map(run, calls))


async def _run(call: PytestCall, timeout_s: float) -> Ended:
    if call.problem:
        return Ended(call.folder, "cannot run", call.problem.message.splitlines()[-1].strip(), 0.0, str(call.problem))
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *call.command,
        cwd=call.folder,
        env=call.variables,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # so that what the tests started ends with them
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        return Ended(call.folder, "timeout", f"not done after {timeout_s:g} s", timeout_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    output = said.decode(errors="replace").rstrip()
    summary = output.splitlines()[-1].strip("= ") if output else "no output"
    passed = process.returncode == 0
    outcome = "passed" if passed else f"failed ({process.returncode})"
    return Ended(call.folder, outcome, summary, time.monotonic() - began, "" if passed else output)


def _print(ended: Sequence[Ended]) -> None:
    table = Table("folder", "outcome", "tests", "seconds")
    for each in ended:
        table.add_row(_short(each.folder), each.outcome, each.summary, f"{each.seconds:.1f}")
    print_table(table)


def _short(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


if __name__ == "__main__":
    sys.exit(main())
