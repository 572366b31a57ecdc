"""Settings of the simulated engine: what it knows, how fast it is, and how it misbehaves."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

Rate = Field(default=0.0, ge=0.0, le=1.0)


class Latency(BaseModel):
    """How long an answer takes once it has a slot. All zero (the default) answers at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttft_s: NonNegativeFloat = 0.0
    """Seconds to the first token, whatever the prompt."""
    prompt_token_s: NonNegativeFloat = 0.0
    """Seconds per prompt token (prefill)."""
    token_s: NonNegativeFloat = 0.0
    """Seconds per generated token (decode)."""
    jitter: float = Field(default=0.0, ge=0.0, le=1.0)
    """Each answer takes between 1 - jitter and 1 + jitter times as long."""
    speed: PositiveFloat = 1.0
    """Divides every latency: 10 rehearses a slow engine in a tenth of the time."""


class Faults(BaseModel):
    """How often a call goes wrong, each as a share of all calls (0 to 1), drawn with a seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate_limited: float = Rate
    """429 with Retry-After."""
    server_error: float = Rate
    """500, as vLLM answers when its engine process has died."""
    unavailable: float = Rate
    """503, as vLLM answers when its queue is full."""
    reset: float = Rate
    """The connection is reset before any byte of the reply."""
    hang: float = Rate
    """No reply, ever; the connection stays open."""
    half_body: float = Rate
    """Half of the promised body, then the connection closes."""
    invalid_json: float = Rate
    """200 with a body that is not JSON."""
    error_body: float = Rate
    """200 with an error object where the answer should be."""
    slow: float = Rate
    """A good answer, `slow_s` seconds late."""
    slow_s: NonNegativeFloat = 1.0
    """Seconds that a slow answer is late."""
    retry_after_s: NonNegativeFloat | None = 1.0
    """Seconds in a 429's Retry-After; null sends none."""
    retry_after_form: Literal["seconds", "date"] = "seconds"
    """Whether Retry-After is a number or an HTTP date."""
    at_most: PositiveInt | None = None
    """Behave after this many faults; null misbehaves for ever."""


class Limits(BaseModel):
    """What the engine lets pass, as a hosted API does; the rest gets 429. Null, each of them, has no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: PositiveInt | None = None
    """Requests admitted within any 60 seconds."""
    requests_per_second: PositiveInt | None = None
    """Requests admitted within any second."""
    tokens_per_minute: PositiveInt | None = None
    """Tokens of prompts and answers admitted within any 60 seconds. A request is admitted by its prompt and its
    `max_tokens`, and counted by what it took in fact."""
    headers: bool = True
    """Whether replies carry `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` of the limits per minute."""
    retry_after: bool = True
    """Whether a 429 says how long to wait."""


class EngineSettings(BaseModel):
    """Everything one simulated engine can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...] = ()
    """Names it serves; other names get vLLM's 404. Empty serves every name and lists `simulated`."""
    seed: int = 0
    """Two engines with the same seed give the same answers to the same requests."""
    accuracy: float = Field(default=0.7, ge=0.0, le=1.0)
    """Share of answers that are right, where the engine can know (by an answer key or from the text)."""
    answer_keys: tuple[Path, ...] = ()
    """JSONL files of environments, or patterns with `*`; their `expected_answer`, `answer` or `reference_turns` (a
    right rollout, turn by turn, in the form of a script) is what the engine knows."""
    answer_tokens: tuple[PositiveInt, PositiveInt] = (8, 32)
    """Fewest and most tokens of prose in an answer; a token is four characters."""
    max_tool_turns: PositiveInt = 3
    """Tool-calling turns after a user's message, one offered tool after the other, then the final answer."""
    reasoning: bool = False
    """Whether answers carry `reasoning`, as vLLM's do with a reasoning parser."""
    max_model_len: PositiveInt = 131_072
    """Prompt and answer tokens that fit; longer prompts get vLLM's 400."""
    slots: PositiveInt | None = None
    """Answers generated at once; further requests queue. Null has no limit."""
    kv_cache_tokens: PositiveInt | None = None
    """Tokens of prompts and growing answers that fit at once; beyond, the youngest answer is preempted and begins
    anew. Null has no limit."""
    max_queued: PositiveInt | None = None
    """Requests that may queue; further ones get vLLM's 503. Null has no limit."""
    latency: Latency = Latency()
    faults: Faults = Faults()
    limits: Limits = Limits()
    serves_metrics: bool = True
    """Whether `/metrics` is there; hosted APIs have none."""
    arrivals_kept: int = Field(default=100_000, ge=0)
    """Latest requests whose time, tokens and status are kept. 20 bytes each."""
    sessions_kept: int = Field(default=200_000, ge=0)
    """Session ids whose calls are counted; 0 counts none. About 150 bytes each."""
    prompts_kept: int = Field(default=1_000_000, ge=0)
    """Distinct prompts whose answers are counted; of others, repeats get equal answers. About 100 bytes each."""
