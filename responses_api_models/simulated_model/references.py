"""Rollouts that are known to be right (`reference_turns` of a row): played as they are, or wrongly in kind.

Which of the two is drawn at the first answer. Later ones look at what was said before: who has followed the reference
goes on with it, and who has not never comes back to it. So nothing has to be remembered between requests.
"""

import re
from dataclasses import dataclass, replace
from random import Random

import orjson

from responses_api_models.simulated_model.answers import Answer
from responses_api_models.simulated_model.conversation import Conversation
from responses_api_models.simulated_model.guesses import spoiled
from responses_api_models.simulated_model.schema_values import Hints, ValueMaker

_THOUGHT = re.compile(r"^<think>.*?</think>", re.DOTALL)
_UNSURE = "I am not sure, but I try this."
"""Stands before wrong calls, so that one without arguments is not taken for the right one."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A right rollout.

    Attributes:
        turns: What the engine says, answer by answer; at least one.
        begin: Assistant messages that the task itself holds.
    """

    turns: tuple[Answer, ...]
    begin: int = 0

    def next_answer(self, conversation: Conversation, random: Random, accuracy: float) -> Answer | None:
        """What is said next, right with probability `accuracy`; None where nothing is left to say.

        A wrong rollout whose last turn was no call says wrong things as long as it is asked, as games do.
        """
        at = max(0, conversation.turn - self.begin)
        if random.random() < accuracy if at == 0 else self._was_followed(conversation, at):
            return replace(self.turns[at]) if at < len(self.turns) else None
        right = self.turns[min(at, len(self.turns) - 1)]
        if at >= len(self.turns) and right.calls:
            return None
        return _wrong(right, conversation, random)

    def _was_followed(self, conversation: Conversation, at: int) -> bool:
        said = next(text for role, text in reversed(conversation.rendered) if role == "assistant")
        return at <= len(self.turns) and _spoken(said) == _spoken(self.turns[at - 1].written())


def _wrong(right: Answer, conversation: Conversation, random: Random) -> Answer:
    """The same tools with other arguments, or another text."""
    if not right.calls:
        return Answer(spoiled(right.text, conversation.task, random))
    schemas = {tool["name"]: {"type": "object", **(tool.get("parameters") or {})} for tool in conversation.tools}
    calls = []
    for name, _ in right.calls:
        schema = schemas.get(name, {"type": "object"})
        arguments = ValueMaker(schema, random, Hints()).value(schema)
        calls.append((name, orjson.dumps(arguments).decode()))
    return Answer(_UNSURE, calls=tuple(calls), finish_reason="tool_calls")


def _spoken(text: str) -> str:
    """What was said aloud: agents and chat templates drop the reasoning of earlier turns."""
    return _THOUGHT.sub("", text.strip()).strip()
