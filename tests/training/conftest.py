"""Rollouts as a collector leaves them, the command over them, and what training libraries state of their formats."""

import pytest

from tests.cli.conftest import command, folder, read_lines, write  # noqa: F401

TOOL = {"type": "function", "name": "look_up", "description": "Look a word up.", "parameters": {"type": "object"}}


def says(text, **fields):
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": None}
    return {"type": "message", "role": "assistant", "content": [part], **fields}


def calls(arguments, call_id="c1", **fields):
    return {"type": "function_call", "name": "look_up", "call_id": call_id, "arguments": arguments, **fields}


def replies(text, call_id="c1"):
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def ids(prompt, generated):
    return {
        "prompt_token_ids": prompt,
        "generation_token_ids": generated,
        "generation_log_probs": [-0.5] * len(generated),
    }


def rollout(task, index, reward=1.0, output=None, response=None, params=None, **fields):
    return {
        "responses_create_params": params or {"input": f"Question {task}?"},
        "response": {"status": "completed", "output": output or [says(f"Answer {index}.")], **(response or {})},
        "reward": reward,
        "agent_ref": {"type": "responses_api_agents", "name": "agent"},
        "_ng_task_index": task,
        "_ng_rollout_index": index,
        "_ng_key": f"key-{task}",
        **fields,
    }


@pytest.fixture
def export(write, command):  # noqa: F811
    """Exports rows: the rows of the new file, and what the command said."""

    def run(rows, form, *options, name="out.jsonl"):
        write("x.jsonl", rows)
        ended = command(
            "export_rollouts", "+rollouts_jsonl_fpath=x.jsonl", f"+output_fpath={name}", f"+format={form}", *options
        )
        assert ended.code == 0, ended.err
        return read_lines(name) if name.endswith(".jsonl") else name, ended.out + ended.err

    return run


def is_trl(row, kind):
    """The rules of TRL's page on dataset formats, conversational: exactly these columns of those that it knows, each a
    list of messages with `role` and `content`; calls have an object of arguments, replies a name, and tools a schema.
    """
    known = {"messages", "text", "prompt", "completion", "chosen", "rejected", "label", "labels", "images"}
    assert known & row.keys() == kind
    for column in kind:
        assert isinstance(row[column], list)
        assert row[column], column
        for message in row[column]:
            assert message["role"] in {"system", "user", "assistant", "tool"}
            assert isinstance(message["content"], str)
            for call in message.get("tool_calls") or ():
                assert call["type"] == "function"
                assert isinstance(call["function"]["arguments"], dict)
            if message["role"] == "tool":
                assert message["name"]
    for tool in row.get("tools") or ():
        assert tool["type"] == "function"
        assert {"name", "parameters"} <= tool["function"].keys()
    return True
