"""What the engine says: a script, tool calls that satisfy their schemas, or answers of a known accuracy.

Everything here is a pure function of the conversation, the settings and `occurrence`, the count of earlier
answers to the same conversation: the same run gives the same answers, and repeats of a task still differ.
"""

import re
from random import Random

import orjson

from nemo_gym_lite.clients import Json
from responses_api_models.simulated_model import tokens
from responses_api_models.simulated_model.answer_keys import Knowledge
from responses_api_models.simulated_model.answers import Answer, Calls, answer_of
from responses_api_models.simulated_model.conversation import Conversation
from responses_api_models.simulated_model.guesses import final_form, guess, labels
from responses_api_models.simulated_model.refusals import refusal
from responses_api_models.simulated_model.schema_values import Hints, ValueMaker
from responses_api_models.simulated_model.settings import EngineSettings

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_PROSE = (
    "Let me think about this step by step. First I read the task once more and note what is given. "
    "Then I work out what is asked for, and which of the given facts matter. The rest can be left aside. "
    "I put the facts together in the order in which they are needed, and check each step before the next. "
    "Nothing here contradicts anything else, so the result should hold. I also check the units and the sign. "
) * 40


MAX_CALLS_PER_TOOL = 4
"""Calls of one tool for one task, however many values the task mentions."""


class Policy:
    """Answers conversations.

    Args:
        settings: Accuracy, lengths, seed.
        known: Right answers and rollouts.
    """

    def __init__(self, settings: EngineSettings, known: Knowledge) -> None:
        self._settings = settings
        self._known = known

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
            answer = self._of_its_own(conversation, random)
            if self._settings.reasoning and not answer.reasoning:
                answer.reasoning = self._prose(random)
        return answer.cut(conversation.max_tokens)

    def _of_its_own(self, conversation: Conversation, random: Random) -> Answer:
        """What the engine knows, or the calls and texts of one that knows nothing."""
        reference = self._known.references.get(conversation.opening)
        if reference is not None:
            answer = reference.next_answer(conversation, random, self._settings.accuracy)
            return answer or Answer(self._text(conversation, random))
        if calls := self._calls(conversation, random):
            return Answer(calls=calls, finish_reason="tool_calls")
        return Answer(self._text(conversation, random))

    @staticmethod
    def _scripted(conversation: Conversation) -> Answer | None:
        if not conversation.script:
            return None
        try:
            turns = orjson.loads(_SCRIPT.search(conversation.script)[1])  # type: ignore[index]
            if conversation.turn >= len(turns):
                return Answer("The script has no further turns.")
            return answer_of(turns[conversation.turn])
        except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
            message = f"the task's <script> is not a JSON list of turns: {error}"
            raise refusal(message, "messages") from error

    def _calls(self, conversation: Conversation, random: Random) -> Calls:
        """The calls of this turn: one offered tool after the other, as often as the task mentions values."""
        forced = conversation.tool_choice not in {"auto", "none"}
        tools = _allowed_tools(conversation)
        if not tools or (not forced and conversation.turn_since_user >= self._settings.max_tool_turns):
            return ()
        understood = random.random() < self._settings.accuracy
        hints = Hints.of(conversation.task) if understood else Hints()
        turns: list[Calls] = []
        for tool in tools:
            calls = _calls_of(tool, hints, random)
            turns.extend([calls] if conversation.parallel_tool_calls else [(call,) for call in calls])
        if forced:
            return turns[conversation.turn_since_user % len(turns)]
        return turns[conversation.turn_since_user] if conversation.turn_since_user < len(turns) else ()

    def _text(self, conversation: Conversation, random: Random) -> str:
        if conversation.tool_outputs:
            return f"Here is what I found: {' '.join(conversation.tool_outputs)}"
        if conversation.answer_schema is not None:
            value = ValueMaker(conversation.answer_schema, random, Hints.of(conversation.task)).value
            return orjson.dumps(value(conversation.answer_schema)).decode()
        prose = self._prose(random)
        final = self._final_answer(conversation.task, random)
        return f"{prose}\n\n{final}" if final else prose

    def _prose(self, random: Random) -> str:
        low, high = self._settings.answer_tokens
        begin = _PROSE.index(". ", int(random.random() * 300)) + 2
        end = _PROSE.index(" ", begin + tokens.CHARS_PER_TOKEN * random.randint(low, high) - 3)
        return _PROSE[begin:end]

    def _final_answer(self, task: str, random: Random) -> str:
        """The answer in the form that the task asks for; empty where neither answer nor form is known."""
        right = self._known.answers.get(task.strip())
        form = final_form(task)
        if right is None and (form is None or labels(task)):
            return self._verdict(task, random)
        said = guess(task, right, random)
        if right is not None and random.random() < self._settings.accuracy:
            said = right
        return (form or "The answer is {}.").replace("{}", said, 1)

    def _verdict(self, task: str, random: Random) -> str:
        """A judge's verdict: the first label that the prompt offers is right, for all that the engine knows."""
        offered = labels(task)
        if not offered:
            return ""
        return offered[0] if random.random() < self._settings.accuracy else random.choice(offered[1:])


def _allowed_tools(conversation: Conversation) -> list[Json]:
    """The offered tools that this answer may call."""
    tools, choice = conversation.tools, conversation.tool_choice
    if choice == "none":
        return []
    if not tools and choice != "auto":
        message = "When using `tool_choice`, `tools` must be set. (parameter=tool_choice)"
        raise refusal(message, "tool_choice")
    if not choice.startswith("function:"):
        return tools
    named = [tool for tool in tools if tool.get("name") == choice.removeprefix("function:")]
    if not named:
        message = "The tool specified in `tool_choice` does not match any of the specified `tools`"
        raise refusal(f"{message} (parameter=tool_choice)", "tool_choice")
    return named


def _calls_of(tool: Json, hints: Hints, random: Random) -> Calls:
    """One call, and another for each further value in the task that the tool's arguments can take."""
    schema = {"type": "object", **(tool.get("parameters") or {})}
    maker = ValueMaker(schema, random, hints)
    calls: list[tuple[str, str]] = []
    while len(calls) < MAX_CALLS_PER_TOOL:
        unused = hints.left
        arguments = orjson.dumps(maker.value(schema)).decode()
        if calls and hints.left == unused:
            break
        calls.append((tool["name"], arguments))
        if hints.left == unused:
            break
    return tuple(calls)
