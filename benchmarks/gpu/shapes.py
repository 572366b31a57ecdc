"""Writes folders of models without weights: an architecture and a tokenizer, for `load_format: dummy`.

The tokenizer knows one word a token, so that a text of n words has n tokens. Only the standard library is needed.
"""

import json
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "8b": {  # Llama 3.1 8B's
        "vocab_size": 128_256,
        "hidden_size": 4_096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": False,
    },
    "1b": {  # Llama 3.2 1B's
        "vocab_size": 128_256,
        "hidden_size": 2_048,
        "intermediate_size": 8_192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "tiny": {  # for a CPU
        "vocab_size": 4_096,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "tie_word_embeddings": False,
    },
}
"""What `--shape` may name, in the terms of a Llama's `config.json`."""

_COMMON = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "max_position_embeddings": 131_072,
    "initializer_range": 0.02,
    "use_cache": True,
    "torch_dtype": "bfloat16",
}
_SPECIAL = ("<unk>", "<begin>", "<end>", "<turn>")
_ROLES = ("system", "user", "assistant", "tool")
_TEMPLATE = (
    "{% for message in messages %}<turn> {{ message['role'] }} {{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<turn> assistant{% endif %}"
)
_SPACE = "\u2581"
"""How the tokenizer writes the space before a word."""


def write_model(shape: str, folder: Path) -> Path:
    """Write the model `shape` of `SHAPES` into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    _write(folder / "config.json", {**_COMMON, **SHAPES[shape], **ids})
    _write(folder / "generation_config.json", ids)
    _write(folder / "tokenizer.json", _tokenizer(SHAPES[shape]["vocab_size"]))
    of_tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<begin>",
        "eos_token": "<end>",
        "pad_token": "<end>",
        "model_max_length": _COMMON["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        "chat_template": _TEMPLATE,
    }
    _write(folder / "tokenizer_config.json", of_tokenizer)
    return folder


def _tokenizer(size: int) -> dict[str, Any]:
    words = [*_ROLES, *(_word(number) for number in range(size - len(_SPECIAL) - len(_ROLES)))]
    vocabulary = {text: number for number, text in enumerate([*_SPECIAL, *(_SPACE + word for word in words)])}
    spaces = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": text, **flags} for number, text in enumerate(_SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": spaces,
        "post_processor": None,
        "decoder": spaces,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }


def _word(number: int) -> str:
    """Word number `number`: five letters, none of them a role's."""
    letters = ""
    for _ in range(4):
        letters = chr(ord("a") + number % 26) + letters
        number //= 26
    return f"x{letters}"


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))
