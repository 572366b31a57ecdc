"""Reads an engine's output: how far its start is, and why it died."""

import re
from collections import deque

TAIL_LINES = 12
KEPT_LINES = 400

_PHASES = (
    ("capturing CUDA graphs", re.compile(r"captur\w* (the model for )?cuda ?graph", re.IGNORECASE)),
    ("compiling", re.compile(r"(?<!disabling )torch\.compile|compiling (a )?graph|dynamo bytecode", re.IGNORECASE)),
    ("reserving the KV cache", re.compile(r"GPU KV cache size|available KV cache memory", re.IGNORECASE)),
    ("loading the model", re.compile(r"loading (safetensors|pt|model|weights)|starting to load model", re.IGNORECASE)),
    ("downloading the model", re.compile(r"downloading|fetching \d+ files", re.IGNORECASE)),
)

_LESS_MEMORY = (
    "out of memory: lower max_model_len, max_num_seqs or gpu_memory_utilization in engine_args, "
    "or raise tensor_parallel_size; `nvidia-smi` shows what else uses the GPU"
)

_HINTS = (
    (
        re.compile(
            r"out of memory|OutOfMemoryError|no available memory for the cache|KV cache is needed, which is larger"
            r"|less than desired GPU memory utilization|was killed by SIGKILL",
            re.IGNORECASE,
        ),
        _LESS_MEMORY,
    ),
    (
        re.compile(r"unrecognized arguments|invalid choice|argument --", re.IGNORECASE),
        "change engine_args; `vllm serve --help=all` lists what this version knows",
    ),
    (
        re.compile(r"401 Client Error|GatedRepoError|gated repo", re.IGNORECASE),
        "the hub asks who you are: set `hf_token` in env.yaml, and accept the model's licence there",
    ),
    (
        re.compile(r"RepositoryNotFound|is not a local folder|Can't load the configuration", re.IGNORECASE),
        "check `model:`: a folder on this machine, or a name that the hub knows",
    ),
    (
        re.compile(r"SafetensorError|PytorchStreamReader|UnpicklingError", re.IGNORECASE),
        "a file of the model is cut off or broken: copy or download the model again",
    ),
    (re.compile(r"address already in use", re.IGNORECASE), "another program took the port; start again"),
)

_CAUSE = re.compile(r"\b[\w.]*(Error|Exception)\b: \S|^\S+: error: ")
_NO_CAUSE = re.compile(r"[Ss]ee (root cause|stack trace)|initialization failed")


class Output:
    """What an engine has said in one life.

    Attributes:
        phase: What it is doing, in the words of a progress line.
    """

    def __init__(self) -> None:
        self.phase = "starting"
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)

    def take(self, line: str) -> bool:
        """Note a line; returns whether the phase has changed."""
        self._lines.append(line)
        phase = next((name for name, pattern in _PHASES if pattern.search(line)), self.phase)
        has_changed, self.phase = phase != self.phase, phase
        return has_changed

    def last_lines(self) -> str:
        """The line that names the cause, where there is one, and the last lines, indented."""
        tail = [line for line in list(self._lines)[-TAIL_LINES:] if line.strip()]
        causes = (line for line in reversed(self._lines) if _CAUSE.search(line) and not _NO_CAUSE.search(line))
        cause = next(causes, None)
        shown = tail if cause is None or cause in tail else [cause, "...", *tail]
        return "".join(f"\n  {line}" for line in shown)

    def hint(self, failure: str) -> str:
        """What to change, judged by all that was said and by how the process ended."""
        for pattern, hint in _HINTS:
            if any(pattern.search(line) for line in (*self._lines, failure)):
                return hint
        return ""
