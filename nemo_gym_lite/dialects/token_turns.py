"""The token ids of each turn of a rollout, and whether each turn's prompt begins with all of the turn before it.

Where it does not, the chat template wrote something else for what the model had said, and training on one sequence
of all turns would teach tokens that nobody sampled.
"""

from collections.abc import Iterable, Iterator

from nemo_gym_lite.clients import Json
from nemo_gym_lite.token_ids import REQUIRED_TOKEN_METADATA_FIELDS


def turns_with_ids(items: Iterable[Json]) -> Iterator[tuple[int, Json]]:
    """Yield the last item of each turn, which carries its ids, and how much of its prompt is known already.

    That is the number of tokens of the turn before, or 0 where the prompt does not begin with them.
    """
    before: list[int] = []
    for item in items:
        if all(item.get(name) is not None for name in REQUIRED_TOKEN_METADATA_FIELDS):
            prompt = item["prompt_token_ids"]
            yield (len(before) if prompt[: len(before)] == before else 0), item
            before = prompt + item["generation_token_ids"]


def token_ids_contiguous(items: Iterable[Json]) -> bool | None:
    """Whether the tokens of all turns are one sequence; None if no turn carries ids."""
    known = [tokens for tokens, _ in turns_with_ids(items)]
    return all(known[1:]) if known else None
