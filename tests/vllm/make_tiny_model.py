"""Makes a chat model of 1.3 million random weights, which vLLM serves on a CPU and which calls tools by itself.

    python make_tiny_model.py FOLDER

Nothing is downloaded: the tokenizer is trained here, on Python's standard library. What the model says is noise, but
its turns are short and its calls come to an end, because one hidden channel is held constant and turns a column
of the output layer into a bias for each token (`give_habits`).
"""

import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

VOCABULARY = 4096
HIDDEN = 128
MAX_TOKENS = 4096
CORPUS_FILES = 60

END_OF_TURN, PADDING = "<|im_end|>", "<|endoftext|>"
ENGINE_READS = ("<tool_call>", "</tool_call>", "<think>", "</think>")  # so not special: they must stay in the text

CHANNEL = 4.0  # value of the constant channel in every embedding
NOISE = 2.0  # standard deviation of the random logits
NEVER = -25.0  # a logit that is never drawn
PROBABILITIES = {END_OF_TURN: 0.08, "<tool_call>": 0.06, '"': 0.2}  # at each token, at temperature 1
NEVER_DRAWN = (PADDING, "<|im_start|>", "<think>", "</think>", "</tool_call>")


def corpus() -> Iterator[str]:
    """Text to learn tokens from: source code and the JSON that tools are called with."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.glob("*.py"))[:CORPUS_FILES]:
        yield path.read_text(encoding="utf-8", errors="ignore")
    for number in range(400):
        yield json.dumps({"name": "get_weather", "arguments": {"city": "Paris", "n": number, "ok": True, "x": None}})
        yield "<tool_response>\nresult: 42\n</tool_response>\nuser\nassistant\nsystem\ntool\n"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with Qwen's special tokens and chat template."""
    bytes_to_tokens = Tokenizer(models.BPE())
    bytes_to_tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_to_tokens.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(ENGINE_READS),
        special_tokens=[PADDING, "<|im_start|>", END_OF_TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bytes_to_tokens.train_from_iterator(corpus(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_to_tokens,
        eos_token=END_OF_TURN,
        pad_token=PADDING,
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ENGINE_READS])
    tokenizer.chat_template = Path(__file__).with_name("chat_template.jinja").read_text()
    return tokenizer


def make_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Two layers of random weights."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=HIDDEN // 2,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config).float()
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model


@torch.no_grad()
def give_habits(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Draw the weights, hold channel 0 constant and write each token's bias into its column of the output layer."""
    embeddings = model.model.embed_tokens.weight.normal_(0, 1)
    embeddings[:, 0] = CHANNEL
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        inner = (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj)
        for linear in (*inner, attention.o_proj, mlp.down_proj):
            linear.weight.normal_(0, linear.weight.shape[1] ** -0.5)
        for linear in (attention.o_proj, mlp.down_proj):
            linear.weight[0] = 0  # nobody else writes into channel 0
    head = model.lm_head.weight.normal_(0, NOISE * HIDDEN**-0.5)
    head[:, 0] = 0
    states = model.model(torch.randint(10, len(tokenizer), (4, 64))).last_hidden_state
    typical_sum = torch.logsumexp(states @ head.T, -1).mean().item()  # what a probability is measured against
    head[:, 0] = biases(tokenizer, typical_sum) / states[..., 0].mean()


def biases(tokenizer: PreTrainedTokenizerFast, typical_sum: float) -> torch.Tensor:
    """What to add to each token's logit, so that turns are short and calls come to an end."""
    values = torch.full((VOCABULARY,), NEVER)
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        if text == " ":
            values[token] = -3.0  # JSON allows endless space, and the model would take it
        elif text.strip() and "\ufffd" not in text:  # that is a part of a character
            values[token] = 0.0
    for text in NEVER_DRAWN:
        values[tokenizer.convert_tokens_to_ids(text)] = NEVER
    for text, probability in PROBABILITIES.items():
        values[tokenizer.convert_tokens_to_ids(text)] = torch.logit(torch.tensor(probability)) + typical_sum
    return values


def main(folder: str) -> None:
    """Write the model and its tokenizer."""
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    give_habits(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
