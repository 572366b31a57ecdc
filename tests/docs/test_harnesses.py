"""The agent of the guide, word for word, plays with a small harness: a model in Anthropic's dialect, tools over MCP."""

import json
import re
import sys
from pathlib import Path

from tests.collect.conftest import engines, workspace

__all__ = ["engines", "workspace"]

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/harnesses.md").read_text()
COUNTER = "resources_servers/session_counter/configs/session_counter.yaml"
VLLM = "responses_api_models/vllm_model/configs/vllm_model.yaml"


def block_after(path, language):
    """The first code block of a language after a file is named."""
    return re.search(rf"`{re.escape(path)}`.*?```{language}\n(.*?)```", GUIDE, re.DOTALL)[1]


def call(name, **arguments):
    return {"tool_calls": [{"name": f"mcp__session_counter__{name}", "arguments": arguments}]}


def task(expected, *turns):
    text = f"<script>{json.dumps([*turns, 'done'])}</script>"
    return {"responses_create_params": {"input": text}, "initial_value": 7, "expected_value": expected}


async def test_the_guides_agent_plays_with_a_harness(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    app, config = (f"responses_api_agents/my_harness/{name}" for name in ("app.py", "configs/my_harness.yaml"))
    workspace.write(app, block_after(app, "python"))
    harness = f"[{sys.executable}, {ROOT / 'tests/docs/harness.py'}]"
    workspace.write(config, block_after(config, "yaml").replace("[claude]", harness))
    tasks = [
        task(10, call("increment", by=5), call("increment", by=-2), call("get_value")),
        task(10, call("increment", by=5)),
        task(7, call("increment", by="much"), call("unheard_of")),
    ]
    workspace.write("tasks.jsonl", "".join(json.dumps(row) + "\n" for row in tasks))
    run = await workspace.collect(
        f"+config_paths=[{VLLM},{COUNTER},{config}]",
        *("+agent_name=my_harness", "+input_jsonl_fpath=tasks.jsonl", "+output_jsonl_fpath=out.jsonl"),
    )

    assert run.code == 0, run.err
    rows = sorted(workspace.rows("out.jsonl"), key=lambda row: row["_ng_task_index"])
    assert [(row["reward"], row["value"]) for row in rows] == [(1.0, 10), (0.0, 12), (1.0, 7)]
    assert {row["response"]["output"][0]["content"][0]["text"] for row in rows} == {"done"}
    assert engine.stats.completed == 4 + 2 + 3
