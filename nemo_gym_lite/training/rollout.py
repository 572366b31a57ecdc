"""A row of an output as a rollout to train on, or the reason why it is none."""

from dataclasses import dataclass

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects.token_turns import turns_with_ids
from nemo_gym_lite.rollouts.plan import agent_name_of
from nemo_gym_lite.row_fields import FAILURE_CLASS, ROLLOUT_INDEX, TASK_INDEX
from nemo_gym_lite.training.conversation import Conversation, conversation_of

FAILED = "failed"
TRUNCATED = "truncated"
NOT_TEXT = "not text"
NO_REWARD = "without a reward"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One finished rollout.

    Attributes:
        talk: Its messages.
        turns: The token ids of each turn, None if they were not captured; see `_turns`.
        reward: Its score, None if it was stored to be scored later.
        labels: `task_index`, `agent` and `arm`, which the rollouts of a group share.
        index: Its number within the group.
    """

    talk: Conversation
    turns: list[Json] | None
    reward: float | None
    labels: Json
    index: int


def rollout_of(row: Json) -> Rollout | str:
    """The rollout, or why it is left out: `FAILED`, `TRUNCATED` or `NOT_TEXT`.

    Truncated is also a rollout that ends with a tool's reply, because the agent allowed no more turns: there is no
    answer to learn.
    """
    response, params = row.get("response"), row.get("responses_create_params")
    if not isinstance(response, dict) or not isinstance(params, dict):
        return FAILED
    output = response.get("output")
    if FAILURE_CLASS in row or response.get("error") or not isinstance(output, list) or not output:
        return FAILED
    if response.get("incomplete_details") or response.get("status") == "incomplete":
        return TRUNCATED
    talk = conversation_of(params, output)
    if talk is None:
        return NOT_TEXT
    if not talk.prompt or not talk.completion or talk.completion[-1]["role"] != "assistant":
        return TRUNCATED
    labels = {"task_index": row.get(TASK_INDEX), "agent": agent_name_of(row), "arm": row.get("arm")}
    reward = row.get("reward")
    score = float(reward) if isinstance(reward, int | float) else None
    return Rollout(talk, _turns(output) or None, score, labels, row.get(ROLLOUT_INDEX) or 0)


def _turns(output: list[Json]) -> list[Json]:
    """The tokens that each turn adds: `input_ids`, a `loss_mask` of 1 for what the model generated, `logprobs` (0
    elsewhere), and whether they `continue` the turn before; a turn that does not begins with its whole prompt.
    """
    turns = []
    for known, item in turns_with_ids(output):
        prompt, generated = item["prompt_token_ids"][known:], item["generation_token_ids"]
        turns.append(
            {
                "input_ids": [*prompt, *generated],
                "loss_mask": [0] * len(prompt) + [1] * len(generated),
                "logprobs": [0.0] * len(prompt) + item["generation_log_probs"],
                "continues": known > 0,
            }
        )
    return turns
