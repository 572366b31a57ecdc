"""vLLM alone, as a script that generates from a list uses it: `python -m benchmarks.gpu.offline SETTINGS`.

`SETTINGS` is a JSON file with `model`, `engine_args`, `runs` (each a file of `tasks` and their `in_flight`) and
`results`, the file that gets a line for each run as soon as it is measured. Each call of `generate` gets as many
prompts as are to be in flight, with their tokens ready. Needs nothing but vLLM.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

_WARM_PROMPTS, _WARM_TOKENS = 16, 16


def main(settings: dict[str, Any]) -> None:
    """Load the engine once and play every run."""
    vllm = importlib.import_module("vllm")
    llm = vllm.LLM(model=settings["model"], **settings["engine_args"])
    tokenizer = llm.get_tokenizer()
    for number, run in enumerate(settings["runs"]):
        tasks = [json.loads(line)["responses_create_params"] for line in Path(run["tasks"]).read_text().splitlines()]
        prompts = [{"prompt_token_ids": _tokens(tokenizer, task["input"])} for task in tasks]
        if not number:
            _generate(llm, vllm, prompts[:_WARM_PROMPTS], _WARM_TOKENS)
        in_flight, tokens = run["in_flight"], tasks[0]["max_output_tokens"]
        began_s, answers = time.time(), 0
        for first in range(0, len(prompts), in_flight):
            answers += _generate(llm, vllm, prompts[first : first + in_flight], tokens)
        line = {
            "requests": len(prompts),
            "wall_s": time.time() - began_s,
            "prompt_tokens": sum(len(prompt["prompt_token_ids"]) for prompt in prompts),
            "output_tokens": answers,
            "ended_s": time.time(),
        }
        with Path(settings["results"]).open("a") as results:
            results.write(json.dumps(line) + "\n")


def _generate(llm: Any, vllm: Any, prompts: list[dict[str, list[int]]], tokens: int) -> int:
    """Answer all prompts at once; returns the tokens of the answers."""
    sampling = vllm.SamplingParams(max_tokens=tokens, ignore_eos=True, temperature=1.0)
    return sum(len(each.outputs[0].token_ids) for each in llm.generate(prompts, sampling, use_tqdm=False))


def _tokens(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    tokens: list[int] = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    return tokens


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
