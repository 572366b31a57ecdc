"""Tasks of a fixed number of tokens, each prompt new, so that no engine has seen a prefix of it before."""

import json
import random
from collections.abc import Sequence
from pathlib import Path


class Prompts:
    """Makes texts of words that are one token each.

    Args:
        words: The words.
        template_tokens: What the chat template puts around a message.
    """

    def __init__(self, words: Sequence[str], template_tokens: int) -> None:
        self._words, self._template_tokens = words, template_tokens
        self._random = random.Random()  # prompts of an earlier run may still be in a server's cache

    def text(self, tokens: int) -> str:
        """A text that makes a prompt of `tokens` tokens, template included."""
        return " ".join(self._random.choices(self._words, k=max(1, tokens - self._template_tokens)))


def write_tasks(path: Path, texts: Sequence[str], output_tokens: int) -> Path:
    """Write a gsm8k task for each text, whose answer has `output_tokens` tokens, and return `path`."""
    with path.open("w") as file:
        for text in texts:
            params = {
                "input": [{"role": "user", "content": text}],
                "max_output_tokens": output_tokens,
                "temperature": 1.0,
            }
            file.write(json.dumps({"responses_create_params": params, "expected_answer": "0"}) + "\n")
    return path


def requests_for(in_flight: int, waves: int | None) -> int:
    """Requests of a run with `in_flight` at a time: `waves` times as many, else enough for a steady figure."""
    if waves is not None:
        return in_flight * waves
    return max(64, 2 * in_flight, min(4 * in_flight, 2048))
