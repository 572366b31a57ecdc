"""What the benchmark can be told, and the engine's arguments that follow from it."""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.shapes import SHAPES

STEPS = ("offline", "bare", "near", "served", "engine", "prefix")
"""What can be measured, in the order in which it is."""

CPU_SHAPE = "tiny"
"""The shape that a CPU build of vLLM serves at once."""

_CPU_ARGUMENTS = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 128 * 2**20, "block_size": 32}
_CONTEXT_STEP = 256
_MEMORY = 0.9


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.run", description=__doc__)
    what = parser.add_argument_group("what is measured")
    what.add_argument("--shape", choices=SHAPES, default="8b", help="a model without weights; tiny for a CPU")
    what.add_argument("--model", help="a folder or a name of the hub, in place of --shape")
    what.add_argument("--steps", type=_steps, default=STEPS, help=f"some of {','.join(STEPS)}")
    what.add_argument("--base-url", default="", help="servers that run already, with commas: none is started")
    what.add_argument("--in-flight", type=int, nargs="+", default=[8, 100, 256, 1024], help="requests at a time")
    what.add_argument("--prompt-tokens", type=int, default=300)
    what.add_argument("--output-tokens", type=int, default=256)
    what.add_argument("--waves", type=int, help="requests of a run by those in flight (default: 2 to 8)")
    what.add_argument("--rounds", type=int, default=1, help="runs of each kind; medians are compared")
    what.add_argument("--prefix-in-flight", type=int, default=256)
    what.add_argument("--prefix-tokens", type=int, default=1500, help="tokens of a prompt that is repeated")
    what.add_argument("--repeats", type=int, default=8, help="how often it is asked")
    engine = parser.add_argument_group("the engine")
    engine.add_argument("--python", default=sys.executable, help="the Python that has vLLM (default: this one)")
    engine.add_argument("--load-format", help="as vLLM's; `dummy` for a --shape")
    engine.add_argument("--engine-args", type=json.loads, default={}, help="arguments of the engine, as JSON")
    engine.add_argument("--serve-args", type=json.loads, default={}, help="further ones of `vllm serve` alone")
    run = parser.add_argument_group("the run")
    run.add_argument("--out", type=Path, help="JSON file; what it holds already of other steps is kept and shown")
    run.add_argument("--limit-s", type=float, default=900.0, help="longest time of one run or start")
    run.add_argument("--deadline-s", type=float, default=float("inf"), help="time after which nothing is begun")
    options = parser.parse_args(words)
    options.python = _absolute(shutil.which(options.python) or options.python)
    if options.model:
        options.model = _absolute(options.model)
    return options


def engine_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the engine, wherever it runs: room for what is asked, and those of the user."""
    longest = max(options.prompt_tokens, options.prefix_tokens) + options.output_tokens
    ours: dict[str, Any] = {
        "dtype": "bfloat16",
        "max_model_len": -(-longest // _CONTEXT_STEP) * _CONTEXT_STEP + _CONTEXT_STEP,
        "max_num_seqs": max(options.in_flight),
        "max_num_batched_tokens": 8192,
        "enable_prefix_caching": True,
        "generation_config": "vllm",
        "seed": 1,
    }
    if load_format := options.load_format or (None if options.model else "dummy"):
        ours["load_format"] = load_format
    if options.shape == CPU_SHAPE and not options.model:
        ours |= _CPU_ARGUMENTS
    ours |= options.engine_args
    return ours if "kv_cache_memory_bytes" in ours else {"gpu_memory_utilization": _MEMORY, **ours}


def half(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same for one of two engines that share the memory."""
    if "kv_cache_memory_bytes" in arguments:
        return {**arguments, "kv_cache_memory_bytes": arguments["kv_cache_memory_bytes"] // 2}
    return {**arguments, "gpu_memory_utilization": arguments["gpu_memory_utilization"] / 2}


def _absolute(name: str) -> str:
    """The path if there is one, as programs run in other folders; else the name, as of a model of the hub."""
    return str(Path(name).absolute()) if Path(name).exists() else name


def _steps(text: str) -> tuple[str, ...]:
    wanted = text.split(",")
    if unknown := set(wanted) - set(STEPS):
        raise argparse.ArgumentTypeError(f"no such step: {', '.join(sorted(unknown))}")
    return tuple(step for step in STEPS if step in wanted)
