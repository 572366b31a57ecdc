"""Tasks to measure with: prompts of 2 kB, each different, with or without a tool."""

from pathlib import Path

import orjson

PROMPT_CHARS = 2_000
_STORY = (
    "The harbour master keeps a ledger in which every crate is written down twice, once when it is unloaded and "
    "once when it leaves the warehouse, so that at the end of the week nothing can be missing without a trace. "
)
_CITIES = ("Oslo", "Lima", "Cairo", "Hanoi", "Quito", "Perth", "Accra", "Seoul")
_TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather of one city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city, for instance Lisbon"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def write_rows(path: Path, count: int, *, with_tool: bool) -> Path:
    """Write `count` rows and return `path`: of gsm8k, or of simple_weather where there is a tool."""
    with path.open("wb") as file:
        for number in range(count):
            file.write(orjson.dumps(_tool_row(number) if with_tool else _row(number)) + b"\n")
    return path


def _prompt(number: int, question: str) -> str:
    head = f"Task {number}. "
    filler = (_STORY * (PROMPT_CHARS // len(_STORY) + 1))[: PROMPT_CHARS - len(head) - len(question) - 1]
    return f"{head}{filler}\n{question}"


def _row(number: int) -> dict[str, object]:
    question = "Which number has this task? Give it back in \\boxed{}."
    messages = [{"role": "user", "content": _prompt(number, question)}]
    return {"responses_create_params": {"input": messages}, "expected_answer": str(number)}


def _tool_row(number: int) -> dict[str, object]:
    city = _CITIES[number % len(_CITIES)]
    messages = [{"role": "user", "content": _prompt(number, f"What is the weather in {city}?")}]
    return {"responses_create_params": {"input": messages, "tools": [_TOOL]}, "cities": [city]}
