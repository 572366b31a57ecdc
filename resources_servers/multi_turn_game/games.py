"""What every game is: an opening, and a reply to each move until it is won, drawn or lost."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["won", "drawn", "lost"]


class IllegalMoveError(ValueError):
    """A move that the rules forbid; the text says why, for the player to read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a move led to.

    Attributes:
        text: What the player sees.
        outcome: How the game ended for the player; None while it goes on.
    """

    text: str
    outcome: Outcome | None = None


class Game(BaseModel):
    """One game, from its setup in a row to its end.

    Attributes:
        max_moves: Turns that the player has, those without a legal move included.
    """

    model_config = ConfigDict(extra="forbid")

    max_moves: int = Field(ge=1)

    def opening(self) -> str:
        """What the player sees before the first move."""
        raise NotImplementedError

    def take(self, move: str) -> Reply:
        """Make the player's move and the opponent's.

        Raises:
            IllegalMoveError: The rules forbid it; nothing has changed.
        """
        raise NotImplementedError


def move_of(text: str) -> str | None:
    """The text of the last `<move>...</move>`, None if there is none."""
    end = text.rfind("</move>")
    begin = text.rfind("<move>", 0, max(end, 0))
    return text[begin + len("<move>") : end].strip() if begin >= 0 else None
