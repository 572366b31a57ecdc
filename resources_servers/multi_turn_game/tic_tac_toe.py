"""Three in a row against an opponent of a chosen skill, whose moves follow from its seed."""

from functools import cache
from random import Random
from typing import Literal

from pydantic import Field, PrivateAttr

from resources_servers.multi_turn_game.games import Game, IllegalMoveError, Outcome, Reply

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class TicTacToe(Game):
    """The game; the player is X and the opponent is O.

    Attributes:
        seed: Seed of the opponent's choices.
        skill: Share of its moves that are the best there are; the others are any.
        begins: Who makes the first move.
    """

    game: Literal["tic_tac_toe"]
    seed: int
    skill: float = Field(ge=0, le=1)
    begins: Literal["player", "opponent"] = "player"

    _board: str = PrivateAttr(default=" " * 9)
    _random: Random = PrivateAttr(default_factory=Random)

    def model_post_init(self, context: object) -> None:
        """Seed the opponent."""
        self._random.seed(self.seed)

    def opening(self) -> str:
        """The board, after the opponent's move if it begins."""
        if self.begins == "opponent" and not self._board.strip():
            self._answer()
        return f"{drawn(self._board)}\nYou are X. Which cell?"

    def take(self, move: str) -> Reply:
        """Set an X, then an O."""
        if move not in "123456789" or len(move) != 1:
            raise IllegalMoveError(f"{move[:40]!r} is no cell from 1 to 9.")
        if self._board[int(move) - 1] != " ":
            raise IllegalMoveError(f"Cell {move} is taken.")
        self._board = placed(self._board, int(move) - 1, "X")
        if outcome_of(self._board) is None:
            self._answer()
        outcome = outcome_of(self._board)
        ends = {"won": "You have won.", "lost": "You have lost.", "drawn": "Nobody has won.", None: "Which cell?"}
        return Reply(f"{drawn(self._board)}\n{ends[outcome]}", outcome)

    def _answer(self) -> None:
        cells = free_cells(self._board)
        if self._random.random() < self.skill:
            worths = {cell: worth(placed(self._board, cell, "O"), "X") for cell in cells}
            cells = [cell for cell in cells if worths[cell] == min(worths.values())]
        self._board = placed(self._board, self._random.choice(cells), "O")


def free_cells(board: str) -> list[int]:
    """The empty cells, counted from 0."""
    return [cell for cell in range(9) if board[cell] == " "]


def placed(board: str, cell: int, mark: str) -> str:
    """The board with a mark set."""
    return board[:cell] + mark + board[cell + 1 :]


def outcome_of(board: str) -> Outcome | None:
    """How the game has ended for X; None while it goes on."""
    for line in LINES:
        marks = {board[cell] for cell in line}
        if len(marks) == 1 and marks != {" "}:
            return "won" if marks == {"X"} else "lost"
    return None if " " in board else "drawn"


@cache
def worth(board: str, to_move: str) -> int:
    """What the board is worth to X if both play their best: 1, 0 or -1."""
    outcome = outcome_of(board)
    if outcome is not None:
        return {"won": 1, "drawn": 0, "lost": -1}[outcome]
    best = max if to_move == "X" else min
    after = "O" if to_move == "X" else "X"
    return best(worth(placed(board, cell, to_move), after) for cell in free_cells(board))


def drawn(board: str) -> str:
    """The board as text; empty cells show their number."""
    cells = [mark if mark != " " else str(cell + 1) for cell, mark in enumerate(board)]
    return "\n".join(" ".join(cells[row : row + 3]) for row in (0, 3, 6))
