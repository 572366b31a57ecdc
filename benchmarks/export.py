"""What exporting a big output takes: seconds and peak memory of `ng_export_rollouts` in every format.

    python -m benchmarks.export                   # a million rows, about 2 GB of disk, a quarter of an hour
    python -m benchmarks.export --rows 20000      # a first look

The rollouts of a task are as far apart in the file as they can be, and every tenth task has token ids.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from benchmarks.measured import run_measured

MEMORY_BAR_MB = 300.0
REPEATS = 8
EXPORTS = ("sft jsonl", "sft parquet", "preference parquet", "grpo jsonl", "grpo parquet")
_TOOL = {"type": "function", "name": "weigh", "description": "Weigh a crate.", "parameters": {"type": "object"}}
_PROMPT = "Every crate is written down twice. " * 12


def write_output(path: Path, rows: int) -> Path:
    """Write an output of `rows` rollouts of two turns each: all first repeats, then all second ones."""
    with path.open("wb") as file:
        for row in _rows(rows):
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return path


def _rows(rows: int) -> Iterator[dict[str, Any]]:
    tasks = max(1, rows // REPEATS)
    for number in range(rows):
        task, repeat = number % tasks, number // tasks
        turns = ([1] * 100, [2] * 20), ([1] * 100 + [2] * 20 + [3] * 30, [4] * 50)
        captured = [_ids(*turn) for turn in turns] if task % 10 == 0 else [{}, {}]
        call = {"type": "function_call", "call_id": "c", "name": "weigh", "arguments": f'{{"crate":{task}}}'}
        text = {"type": "output_text", "text": f"Crate {task} weighs {repeat} kg.", "annotations": []}
        output = [
            {**call, **captured[0]},
            {"type": "function_call_output", "call_id": "c", "output": f'{{"kg":{repeat}}}'},
            {"type": "message", "role": "assistant", "content": [text], **captured[1]},
        ]
        yield {
            "responses_create_params": {"input": f"Weigh crate {task}. {_PROMPT}", "tools": [_TOOL]},
            "response": {"status": "completed", "incomplete_details": None, "output": output, "tools": [_TOOL]},
            "reward": float((task + repeat) % 2),
            "agent_ref": {"type": "responses_api_agents", "name": "crates"},
            "_ng_task_index": task,
            "_ng_rollout_index": repeat,
            "_ng_key": f"{task:032x}",
        }


def _ids(prompt: list[int], generated: list[int]) -> dict[str, Any]:
    log_probs = [-0.25] * len(generated)
    return {"prompt_token_ids": prompt, "generation_token_ids": generated, "generation_log_probs": log_probs}


def main() -> int:
    """Write an output, export it in every format, print a table; 1 if one took more memory than the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=EXPORTS, action="append", help="may be given several times")
    asked = parser.parse_args()
    worst_mb = 0.0
    with tempfile.TemporaryDirectory() as folder:
        source = write_output(Path(folder, "x.jsonl"), asked.rows)
        print(f"{asked.rows} rows, {source.stat().st_size / 1e6:.0f} MB")
        print(f"{'format':20} {'wall':>8} {'CPU':>8} {'peak memory':>12} {'file':>10}")
        for name in asked.only or EXPORTS:
            form, ending = name.split()
            target = Path(folder, f"out.{ending}")
            command = [sys.executable, "-m", "nemo_gym_lite.cli.export_rollouts", f"+format={form}"]
            command += [f"+rollouts_jsonl_fpath={source}", f"+output_fpath={target}"]
            used = run_measured(command, Path(folder))
            size_mb = target.stat().st_size / 1e6
            print(f"{name:20} {used.wall_s:6.0f} s {used.cpu_s:6.0f} s {used.peak_mb:9.0f} MB {size_mb:7.0f} MB")
            target.unlink()
            worst_mb = max(worst_mb, used.peak_mb)
    print(f"peak memory: {worst_mb:.0f} MB, bar {MEMORY_BAR_MB:.0f} MB")
    return int(worst_mb > MEMORY_BAR_MB)


if __name__ == "__main__":
    sys.exit(main())
