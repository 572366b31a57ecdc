"""The guide to one's first environment, followed to the end by somebody who types what it says and nothing else."""

import re
import shlex
from pathlib import Path

from tests.collect.workspace import Workspace

GUIDE = Path(__file__).parents[2] / "docs/guides/write-your-first-environment.md"
STEP = re.compile(
    r"(?:`(?P<path>resources_servers/\S+)` becomes this[^\n]*:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL
)


async def test_a_newcomer_can_follow_the_guide_to_the_end(tmp_path):
    desk = Workspace(tmp_path)
    typed = []
    for step in STEP.finditer(GUIDE.read_text()):
        if step["path"]:
            assert (tmp_path / step["path"]).exists(), "a file that changes was there before"
            desk.write(step["path"], step["text"])
        elif step["kind"] == "bash":
            for line in step["text"].replace("\\\n", " ").splitlines():
                command, *words = shlex.split(line)
                if command.startswith("ng_"):
                    run = await desk.run(command.removeprefix("ng_"), *words)
                    assert run.code == 0, f"{line}\n{run.out}\n{run.err}"
                    typed.append(command)

    tests, play = "ng_test", "ng_collect_rollouts"
    assert typed == ["ng_init_resources_server", tests, play, tests, play]
    rewards = [row["reward"] for row in desk.rows("results/letter_count.jsonl")]
    assert len(rewards) == 24
    assert 0.3 < sum(rewards) / len(rewards) < 1.0
    assert any(row["num_tool_calls"] and row["reward"] for row in desk.rows("results/letter_count.jsonl"))
