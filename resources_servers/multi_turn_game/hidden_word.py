"""Find a word; every guess is answered letter by letter."""

from collections import Counter
from typing import Annotated, Literal

from pydantic import StringConstraints

from resources_servers.multi_turn_game.games import Game, IllegalMoveError, Reply


class HiddenWord(Game):
    """The game; a guess may be any letters, not only a word of some list."""

    game: Literal["hidden_word"]
    secret: Annotated[str, StringConstraints(pattern="^[a-z]{3,12}$")]

    def opening(self) -> str:
        """How long the word is."""
        return f"I have chosen a word of {len(self.secret)} letters. You have {self.max_moves} guesses."

    def take(self, move: str) -> Reply:
        """Mark a guess."""
        guess = move.lower()
        if len(guess) != len(self.secret) or not (guess.isascii() and guess.isalpha()):
            raise IllegalMoveError(f"A guess has {len(self.secret)} letters from a to z, and {move[:40]!r} has not.")
        if guess == self.secret:
            return Reply(f"{guess} is right.", "won")
        marks = marked(guess, self.secret)
        return Reply(" ".join(f"{letter}{mark}" for letter, mark in zip(guess, marks, strict=True)))


def marked(guess: str, secret: str) -> str:
    """Mark each letter of a guess: `+` right, `?` elsewhere in the word, `-` not in it.

    A letter is marked as often as the word has it, in its right place first.
    """
    left = Counter(letter for letter, guessed in zip(secret, guess, strict=True) if letter != guessed)
    marks = ""
    for letter, guessed in zip(secret, guess, strict=True):
        if letter == guessed:
            marks += "+"
        elif left[guessed]:
            marks += "?"
            left[guessed] -= 1
        else:
            marks += "-"
    return marks
