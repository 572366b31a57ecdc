"""One answer, before it takes the shape of a dialect, and how a script writes it."""

from dataclasses import dataclass

import orjson

from nemo_gym_lite.clients import Json
from responses_api_models.simulated_model import tokens
from responses_api_models.simulated_model.conversation import call_text, reasoning_text

Calls = tuple[tuple[str, str], ...]
"""(name, arguments as JSON text) of each tool call."""

Turn = str | Json
"""An answer as scripts and `reference_turns` write it: its text, or an object with `content`, `reasoning`,
`tool_calls` (each `{"name": ..., "arguments": {...}}`), `finish_reason`, `fault`."""


@dataclass(slots=True)
class Answer:
    """One answer, before it takes the shape of a dialect.

    Attributes:
        finish_reason: "stop", "length" or "tool_calls".
        fault: A fault that a script asks for instead of an answer.
    """

    text: str = ""
    reasoning: str | None = None
    calls: Calls = ()
    finish_reason: str = "stop"
    fault: str | None = None

    def written(self) -> str:
        """The answer as the model writes it, before any parser."""
        thought = reasoning_text(self.reasoning) if self.reasoning else ""
        return thought + self.text + "".join(call_text(*call) for call in self.calls)

    def completion_tokens(self) -> int:
        """Tokens of the answer, the end token included where it was reached."""
        return tokens.count(self.written()) + (self.finish_reason != "length")

    def cut(self, max_tokens: int | None) -> "Answer":
        """The answer up to `max_tokens`; a tool call that is cut off is only text, as in vLLM."""
        if max_tokens is None or self.completion_tokens() <= max_tokens:
            return self
        text = self.written()[: max_tokens * tokens.CHARS_PER_TOKEN]
        thought = ""
        if self.reasoning:
            thought, _, text = text.removeprefix("<think>").partition("</think>")
        return Answer(text, thought or None, (), "length", self.fault)


def answer_of(turn: Turn) -> Answer:
    """Read one turn.

    Raises:
        AttributeError, KeyError, TypeError: It is none.
    """
    if isinstance(turn, str):
        return Answer(turn)
    calls = tuple(
        (call["name"], given if isinstance(given := call["arguments"], str) else orjson.dumps(given).decode())
        for call in turn.get("tool_calls", ())
    )
    return Answer(
        turn.get("content") or "",
        turn.get("reasoning"),
        calls,
        turn.get("finish_reason") or ("tool_calls" if calls else "stop"),
        turn.get("fault"),
    )
