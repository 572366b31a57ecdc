"""What the engine says: a script, tool calls that satisfy their schemas, or answers of a known accuracy.

Everything here is a pure function of the conversation, the settings and `occurrence`, the count of earlier
answers to the same conversation: the same run gives the same answers, and repeats of a task still differ.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import orjson

from nemo_gym_lite.clients import Json
from responses_api_models.simulated_model import tokens
from responses_api_models.simulated_model.conversation import (
    Conversation,
    call_text,
    reasoning_text,
)
from responses_api_models.simulated_model.refusals import refusal
from responses_api_models.simulated_model.schema_values import Hints, ValueMaker
from responses_api_models.simulated_model.settings import EngineSettings

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_LETTER_OPTION = re.compile(r"^\s*\(?([A-J])[):.]\s", re.MULTILINE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_PROSE = (
    "Let me think about this step by step. First I read the task once more and note what is given. "
    "Then I work out what is asked for, and which of the given facts matter. The rest can be left aside. "
    "I put the facts together in the order in which they are needed, and check each step before the next. "
    "Nothing here contradicts anything else, so the result should hold. I also check the units and the sign. "
) * 40


@dataclass(slots=True)
class Answer:
    """One answer, before it takes the shape of a dialect.

    Attributes:
        calls: (name, arguments as JSON text) of each tool call.
        finish_reason: "stop", "length" or "tool_calls".
        fault: A fault that a script asks for instead of an answer.
    """

    text: str = ""
    reasoning: str | None = None
    calls: tuple[tuple[str, str], ...] = ()
    finish_reason: str = "stop"
    fault: str | None = None

    def written(self) -> str:
        """The answer as the model writes it, before any parser."""
        thought = reasoning_text(self.reasoning) if self.reasoning else ""
        return thought + self.text + "".join(call_text(*call) for call in self.calls)

    def completion_tokens(self) -> int:
        """Tokens of the answer, the end token included where it was reached."""
        return tokens.count(self.written()) + (self.finish_reason != "length")


class Policy:
    """Answers conversations.

    Args:
        settings: Accuracy, lengths, seed.
        keys: Right answers by task text.
    """

    def __init__(self, settings: EngineSettings, keys: Mapping[str, str]) -> None:
        self._settings = settings
        self._keys = keys

    def answer(self, conversation: Conversation, occurrence: int) -> Answer:
        """Answer a conversation.

        Raises:
            EndpointError: The request's script or choice of tool makes no sense; holds vLLM's reply.
        """
        if conversation.seed is not None or conversation.temperature == 0:
            occurrence = 0  # as in vLLM: a seeded or greedy request has one answer
        random = Random(conversation.digest ^ (self._settings.seed << 64) ^ (occurrence << 96))
        answer = self._scripted(conversation)
        if answer is None:
            if tool := self._tool_to_call(conversation):
                answer = Answer(calls=self._calls(conversation, tool, random), finish_reason="tool_calls")
            else:
                answer = Answer(self._text(conversation, random))
            if self._settings.reasoning:
                answer.reasoning = self._prose(random)
        return _cut(answer, conversation.max_tokens)

    @staticmethod
    def _scripted(conversation: Conversation) -> Answer | None:
        if not conversation.script:
            return None
        try:
            turns = orjson.loads(_SCRIPT.search(conversation.script)[1])  # type: ignore[index]
            if conversation.turn >= len(turns):
                return Answer("The script has no further turns.")
            return _script_turn(turns[conversation.turn])
        except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
            message = f"the task's <script> is not a JSON list of turns: {error}"
            raise refusal(message, "messages") from error

    def _tool_to_call(self, conversation: Conversation) -> Json | None:
        """The function that this turn calls: one offered function after the other, then none."""
        tools, choice = conversation.tools, conversation.tool_choice
        if not tools and choice not in {"auto", "none"}:
            message = "When using `tool_choice`, `tools` must be set. (parameter=tool_choice)"
            raise refusal(message, "tool_choice")
        if not tools or choice == "none":
            return None
        if choice.startswith("function:"):
            named = [tool for tool in tools if tool.get("name") == choice.removeprefix("function:")]
            if not named:
                message = (
                    "The tool specified in `tool_choice` does not match any of the specified `tools` "
                    "(parameter=tool_choice)"
                )
                raise refusal(message, "tool_choice")
            return named[0]
        called = conversation.turn_since_user
        if choice == "required":
            return tools[called % len(tools)]
        return tools[called] if called < min(len(tools), self._settings.max_tool_turns) else None

    def _calls(self, conversation: Conversation, tool: Json, random: Random) -> tuple[tuple[str, str], ...]:
        understood = random.random() < self._settings.accuracy
        hints = Hints.of(conversation.task) if understood else Hints()
        schema = tool.get("parameters") or {"type": "object"}
        arguments = ValueMaker(schema, random, hints).value({"type": "object", **schema})
        return ((tool["name"], orjson.dumps(arguments).decode()),)

    def _text(self, conversation: Conversation, random: Random) -> str:
        if conversation.tool_outputs:
            return f"Here is what I found: {' '.join(conversation.tool_outputs)}"
        prose = self._prose(random)
        final = self._final_answer(conversation.task, random)
        return f"{prose}\n\n{final}" if final else prose

    def _prose(self, random: Random) -> str:
        low, high = self._settings.answer_tokens
        begin = _PROSE.index(". ", int(random.random() * 300)) + 2
        end = _PROSE.index(" ", begin + tokens.CHARS_PER_TOKEN * random.randint(low, high) - 3)
        return _PROSE[begin:end]

    def _final_answer(self, task: str, random: Random) -> str:
        """The answer in the form that the task asks for; empty where neither key nor form is known."""
        right = self._keys.get(task.strip()) if self._keys else None
        boxed, hashed = "\\boxed" in task, "####" in task
        if right is None and not boxed and not hashed:
            return ""
        if right is not None and random.random() < self._settings.accuracy:
            said = right
        else:
            said = _guess(task, right, random)
        if boxed:
            return f"\\boxed{{{said}}}"
        return f"#### {said}" if hashed else f"The answer is {said}."


def _script_turn(turn: str | Json) -> Answer:
    """One turn of a script: its text, or an object with `content`, `reasoning`, `tool_calls`, `fault`."""
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


def _guess(task: str, right: str | None, random: Random) -> str:
    """An answer of the right kind that is not `right`."""
    letters: list[str] = [letter for letter in _LETTER_OPTION.findall(task) if letter != right]
    if right is None:
        numbers: list[str] = _NUMBER.findall(task)
        return random.choice(letters or numbers or ["42"]).replace(",", "")
    if len(right) == 1 and right.isalpha():
        return random.choice(letters or [letter for letter in "ABCD" if letter != right.upper()])
    try:
        off = float(right.replace(",", "")) + random.choice((-2, -1, 1, 2, 10))
    except ValueError:
        return "unknown"
    return f"{off:g}"


def _cut(answer: Answer, max_tokens: int | None) -> Answer:
    """Stop at `max_tokens`; a tool call that is cut off is only text, as in vLLM."""
    if max_tokens is None or answer.completion_tokens() <= max_tokens:
        return answer
    text = answer.written()[: max_tokens * tokens.CHARS_PER_TOKEN]
    thought = ""
    if answer.reasoning:
        thought, _, text = text.removeprefix("<think>").partition("</think>")
    return Answer(text, thought or None, (), "length", answer.fault)
