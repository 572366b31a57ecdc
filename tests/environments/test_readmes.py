"""Every environment's README: its commands run as they are written, and the simulated engine earns something."""

import asyncio
import re
import shlex
from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest

from tests.collect.workspace import Workspace

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("resources_servers/*/README.md"))
AT_ONCE = 3
LEAST_TASKS = 20
SHARED = {"gymnasium"}
"""Folders that hold what environments share, and no tasks."""
PARTS = {"app.py", "README.md", "configs", "data", "tests"}


def commands_of(readme):
    """The words of each command below "Run it"."""
    (section,) = re.findall(r"^## Run it\n(.*?)(?=^## |\Z)", readme.read_text(), re.DOTALL | re.MULTILINE)
    for block in re.findall(r"```bash\n(.*?)```", section, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def option(words, name):
    return next((word.partition("=")[2] for word in words if word.lstrip("+").partition("=")[0] == name), None)


async def followed(folder, desk):
    """What is wrong with the README's commands; empty if nothing is."""
    for words in commands_of(folder / "README.md"):
        if not words[0].startswith("ng_"):
            return f"{words[0]} is none of our commands"
        run = await desk.run(words[0].removeprefix("ng_"), *words[1:])
        if run.code != 0:
            return f"exit code {run.code} of {shlex.join(words)}\n{run.out}\n{run.err}"
        if words[0] == "ng_collect_rollouts":
            rewards = [row["reward"] for row in desk.rows(option(words, "output_jsonl_fpath"))]
            if len(rewards) < LEAST_TASKS or not fmean(rewards) > 0:
                return f"{len(rewards)} rollouts earned {sum(rewards)}: {shlex.join(words)}"
    return ""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of each README, a few played at a time."""

    async def play_all():
        places = asyncio.Semaphore(AT_ONCE)

        async def play(folder):
            async with places:
                return await followed(folder, Workspace(tmp_path_factory.mktemp(folder.name)))

        environments = [folder for folder in FOLDERS if folder.name not in SHARED]
        found = await asyncio.gather(*map(play, environments))
        return dict(zip(environments, found, strict=True))

    return asyncio.run(play_all())


@pytest.mark.parametrize("folder", [each for each in FOLDERS if each.name not in SHARED], ids=lambda path: path.name)
def test_the_commands_of_a_readme_run_as_written_and_earn_rewards(folder, outcomes):
    assert outcomes[folder] == ""


@pytest.mark.parametrize("folder", [each for each in FOLDERS if each.name not in SHARED], ids=lambda path: path.name)
def test_an_environments_folder_is_complete_and_has_tasks_enough(folder):
    assert {path.name for path in folder.iterdir()} >= PARTS
    assert len((folder / "data/example.jsonl").read_text().splitlines()) >= LEAST_TASKS
    played = Counter(words[0] for words in commands_of(folder / "README.md"))
    assert played["ng_collect_rollouts"] >= 1
