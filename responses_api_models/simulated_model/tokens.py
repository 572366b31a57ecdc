"""A deterministic stand-in for a tokenizer: four characters are a token, the same text has the same ids.

A conversation is rendered message by message as `<role> text <end>`, and an answer as `text <end>`, so that a
turn's prompt begins with the token ids of the turn before it and of its answer, as on-policy training wants.
"""

from collections.abc import Iterable
from zlib import crc32

CHARS_PER_TOKEN = 4
VOCABULARY = 151_643
END_ID = 151_645
ROLE_IDS = {"system": 151_650, "developer": 151_650, "user": 151_651, "assistant": 151_652, "tool": 151_653}
OTHER_ROLE_ID = 151_654


def pieces(text: str) -> list[str]:
    """The tokens of a text."""
    return [text[at : at + CHARS_PER_TOKEN] for at in range(0, len(text), CHARS_PER_TOKEN)]


def count(text: str) -> int:
    """Number of tokens of a text."""
    return -(-len(text) // CHARS_PER_TOKEN)


def token_id(piece: str) -> int:
    """Id of one token."""
    return crc32(piece.encode("utf-8", "surrogatepass")) % VOCABULARY


def logprob(piece: str) -> float:
    """Log-probability of one token: arbitrary, negative, always the same."""
    return -(crc32(piece.encode("utf-8", "surrogatepass")) % 4_000 + 1) / 1_000


def prompt_count(rendered: Iterable[tuple[str, str]]) -> int:
    """Tokens of a conversation given as (role, text), the opening of the answer included."""
    return 1 + sum(count(text) + 2 for _, text in rendered)


def prompt_ids(rendered: Iterable[tuple[str, str]]) -> list[int]:
    """Token ids of a conversation given as (role, text), the opening of the answer included."""
    ids: list[int] = []
    for role, text in rendered:
        ids.append(ROLE_IDS.get(role, OTHER_ROLE_ID))
        ids.extend(token_id(piece) for piece in pieces(text))
        ids.append(END_ID)
    ids.append(ROLE_IDS["assistant"])
    return ids
