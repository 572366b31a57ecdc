"""Tells as JSON what the Python that has vLLM has besides, and which words are one token each for a model.

`python -m benchmarks.gpu.probe MODEL` needs nothing but vLLM.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import sys
from typing import Any

_CANDIDATES = 20_000
_WORDS = 2_000
_LETTERS = (3, 12)
"""Shortest and longest word."""


def probe(model: str) -> dict[str, Any]:
    """Versions, one-token words, and the tokens that the chat template puts around a message."""
    tokenizer = importlib.import_module("transformers").AutoTokenizer.from_pretrained(model)
    words = one_token_words(tokenizer)
    first = [{"role": "user", "content": words[0]}]
    template = tokenizer.apply_chat_template(first, add_generation_prompt=True, tokenize=True, return_dict=False)
    return {
        "vllm": importlib.metadata.version("vllm"),
        "has_nemo_gym_lite": all(map(importlib.util.find_spec, ("nemo_gym_lite", "hydra", "orjson", "pydantic"))),
        "template_tokens": len(template) - 1,
        "words": words,
    }


def one_token_words(tokenizer: Any) -> list[str]:
    """Words of plain letters of which each is one token wherever it stands in a text."""
    found = []
    shortest, longest = _LETTERS
    for text in sorted(tokenizer.get_vocab()):
        word = text.lstrip("\u0120\u2581")  # how byte-level and sentence-piece tokenizers write a space
        if shortest <= len(word) <= longest and word.isascii() and word.isalpha() and word.islower() and word != text:
            found.append(word)
    step = max(1, len(found) // _CANDIDATES)
    good = [word for word in found[::step] if _count(tokenizer, f"{word} {word} {word}") == 3]
    if not good:
        raise ValueError("the tokenizer has no words of one token")
    return good[:: max(1, len(good) // _WORDS)]


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe(sys.argv[1])) + "\n")
