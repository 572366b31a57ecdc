"""Take tokens from heaps; who takes the last one wins. The opponent's moves follow from its seed."""

import re
from functools import reduce
from operator import xor
from random import Random
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from resources_servers.multi_turn_game.games import Game, IllegalMoveError, Reply

_MOVE = re.compile(r"(\d{1,3})\s*[, ]\s*(\d{1,3})")


class Nim(Game):
    """The game; the player begins.

    Attributes:
        heaps: Tokens of each heap.
        seed: Seed of the opponent's choices.
        skill: Share of its moves that are the best there are; the others are any.
    """

    game: Literal["nim"]
    heaps: list[Annotated[int, Field(ge=1, le=99)]] = Field(min_length=1, max_length=9)
    seed: int
    skill: float = Field(ge=0, le=1)

    _left: list[int] = PrivateAttr(default_factory=list)
    _random: Random = PrivateAttr(default_factory=Random)

    def model_post_init(self, context: object) -> None:
        """Set up the heaps and seed the opponent."""
        self._left = [*self.heaps]
        self._random.seed(self.seed)

    def opening(self) -> str:
        """The heaps."""
        return f"{_shown(self._left)} You begin."

    def take(self, move: str) -> Reply:
        """Take the player's tokens, then the opponent's."""
        found = _MOVE.fullmatch(move)
        if found is None:
            raise IllegalMoveError(f"{move[:40]!r} does not name a heap and how many tokens to take, as in `2 1`.")
        heap, count = int(found[1]), int(found[2])
        if not 1 <= heap <= len(self._left):
            raise IllegalMoveError(f"There is no heap {heap}.")
        if not 1 <= count <= self._left[heap - 1]:
            raise IllegalMoveError(f"From heap {heap} you can take 1 to {self._left[heap - 1]} tokens, not {count}.")
        self._left[heap - 1] -= count
        if not any(self._left):
            return Reply("You have taken the last token.", "won")
        heap, count = self._answer()
        self._left[heap] -= count
        said = f"I take {count} from heap {heap + 1}."
        if not any(self._left):
            return Reply(f"{said} That was the last token.", "lost")
        return Reply(f"{said} {_shown(self._left)} Your move.")

    def _answer(self) -> tuple[int, int]:
        best = winning_moves(self._left)
        if best and self._random.random() < self.skill:
            return self._random.choice(best)
        return self._random.choice([(heap, n + 1) for heap, left in enumerate(self._left) for n in range(left)])


def winning_moves(heaps: list[int]) -> list[tuple[int, int]]:
    """Moves, as heap (from 0) and count, after which whoever made them wins with best play."""
    total = reduce(xor, heaps, 0)
    return [(heap, left - (left ^ total)) for heap, left in enumerate(heaps) if left ^ total < left]


def _shown(heaps: list[int]) -> str:
    return " ".join(f"Heap {number}: {left}." for number, left in enumerate(heaps, 1))
