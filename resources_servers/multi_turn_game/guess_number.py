"""Find a number between two bounds; every guess is answered with higher or lower."""

from typing import Literal, Self

from pydantic import model_validator

from resources_servers.multi_turn_game.games import Game, IllegalMoveError, Reply


class GuessNumber(Game):
    """The game; `low` and `high` may both be the secret."""

    game: Literal["guess_number"]
    low: int
    high: int
    secret: int

    @model_validator(mode="after")
    def _hide_it_within_the_bounds(self) -> Self:
        if not self.low <= self.secret <= self.high:
            raise ValueError(f"secret {self.secret} is not from {self.low} to {self.high}")
        return self

    def opening(self) -> str:
        """The bounds."""
        return f"I have chosen a number from {self.low} to {self.high}. You have {self.max_moves} guesses."

    def take(self, move: str) -> Reply:
        """Compare a guess."""
        try:
            guess = int(move)
        except ValueError:
            raise IllegalMoveError(f"{move[:40]!r} is no whole number.") from None
        if not self.low <= guess <= self.high:
            raise IllegalMoveError(f"{guess} is not from {self.low} to {self.high}.")
        if guess == self.secret:
            return Reply(f"{guess} is right.", "won")
        return Reply(f"My number is {'higher' if guess < self.secret else 'lower'} than {guess}.")
