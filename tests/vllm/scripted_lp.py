"""A logits processor for vLLM that makes any model follow a script in its prompt, token by token.

    PYTHONPATH=tests/vllm vllm serve MODEL --logits-processors scripted_lp:Scripted

A prompt that holds `<script>["first turn", "second turn"]</script>` is answered with these texts, one for each turn,
and then with nothing. Other prompts are left alone. Everything else stays real: tokens, parsers, grammar, and the log
probabilities, which are the model's own from before this processor.
"""

import json
import re

import torch
from transformers import AutoTokenizer
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
TURN = "<|im_start|>assistant"


class Scripted(AdapterLogitsProcessor):
    """Leaves only the script's next token possible."""

    def __init__(self, vllm_config, device, is_pin_memory):
        super().__init__(vllm_config, device, is_pin_memory)
        self.tokenizer = AutoTokenizer.from_pretrained(vllm_config.model_config.tokenizer)

    def is_argmax_invariant(self):
        """It changes which token is the likeliest."""
        return False

    def new_req_logits_processor(self, params):
        """The processor of one request."""
        tokens = None

        def follow(prompt_ids, output_ids, logits):
            nonlocal tokens
            if tokens is None:
                tokens = self.scripted_tokens(prompt_ids)
            if tokens:
                logits = torch.full_like(logits, float("-inf"))
                logits[tokens[min(len(output_ids), len(tokens) - 1)]] = 0.0
            return logits

        return follow

    def scripted_tokens(self, prompt_ids):
        """The tokens of this turn with the end of the turn, none if the prompt holds no script."""
        prompt = self.tokenizer.decode(prompt_ids)
        found = SCRIPT.search(prompt)
        if found is None:
            return []
        turns, turn = json.loads(found[1]), prompt.count(TURN) - 1
        text = turns[turn] if turn < len(turns) else ""
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]
