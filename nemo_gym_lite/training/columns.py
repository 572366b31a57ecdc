"""The columns of each format: what Hugging Face TRL and NeMo-RL document, and beside it what tells rows apart."""

from collections.abc import Iterator, Sequence

from nemo_gym_lite.clients import Json
from nemo_gym_lite.training.rollout import Rollout


def sft_row(rollout: Rollout) -> Json:
    """Supervised fine-tuning: the whole conversation in `messages`."""
    talk = rollout.talk
    return {"messages": talk.prompt + talk.completion, "tools": talk.tools, **_own(rollout), "turns": rollout.turns}


def token_rows(rollout: Rollout) -> Iterator[Json]:
    """Tokenized sequences: one of the whole rollout, or one of each stretch of turns that continue each other."""
    stretches: list[list[Json]] = []
    for turn in rollout.turns or ():
        if not turn["continues"]:
            stretches.append([])
        stretches[-1].append(turn)
    for stretch in stretches:
        yield {
            "input_ids": [token for turn in stretch for token in turn["input_ids"]],
            "assistant_masks": [mask for turn in stretch for mask in turn["loss_mask"]],
            "logprobs": [value for turn in stretch for value in turn["logprobs"]],
            **_own(rollout),
        }


def preference_row(best: Rollout, worst: Rollout) -> Json:
    """A pair with an explicit prompt, as TRL has it."""
    return {
        "prompt": best.talk.prompt,
        "chosen": best.talk.completion,
        "rejected": worst.talk.completion,
        **_of_pair(best, worst),
    }


def ranked_row(best: Rollout, worst: Rollout) -> Json:
    """The same pair as NeMo-RL's ranked completions have it."""
    ranked = [{"rank": rank, "completion": each.talk.completion} for rank, each in enumerate((best, worst))]
    return {"context": best.talk.prompt, "completions": ranked, **_of_pair(best, worst)}


def group_row(group: Sequence[Rollout]) -> Json:
    """A prompt with all rollouts of it."""
    first = group[0]
    with_ids = all(each.turns for each in group)
    return {
        "prompt": first.talk.prompt,
        "completions": [each.talk.completion for each in group],
        "rewards": [each.reward for each in group],
        "tools": first.talk.tools,
        **first.labels,
        "rollout_indices": [each.index for each in group],
        "turns": [each.turns for each in group] if with_ids else None,
    }


def _own(rollout: Rollout) -> Json:
    return {"reward": rollout.reward, **rollout.labels, "rollout_index": rollout.index}


def _of_pair(best: Rollout, worst: Rollout) -> Json:
    assert best.reward is not None
    assert worst.reward is not None
    return {
        "tools": best.talk.tools,
        "margin": best.reward - worst.reward,
        "chosen_reward": best.reward,
        "rejected_reward": worst.reward,
        **best.labels,
        "chosen_turns": best.turns,
        "rejected_turns": worst.turns,
    }
