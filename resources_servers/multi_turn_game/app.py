"""Games over several turns: the model makes a move in each, until the game is won, drawn or lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any

from fastapi import HTTPException
from pydantic import Field, TypeAdapter, ValidationError

from nemo_gym_lite.base_resources_server import BaseResourcesServerConfig, NeMoGymResponse
from nemo_gym_lite.reward_profile import compute_pass_majority_metrics, compute_subset_metrics, highest_k_metrics
from resources_servers.gymnasium import GymnasiumServer, extract_text
from resources_servers.multi_turn_game.games import Game, IllegalMoveError, Outcome, Reply, move_of
from resources_servers.multi_turn_game.guess_number import GuessNumber
from resources_servers.multi_turn_game.hidden_word import HiddenWord
from resources_servers.multi_turn_game.nim import Nim
from resources_servers.multi_turn_game.tic_tac_toe import TicTacToe

REWARDS: dict[Outcome, float] = {"won": 1.0, "drawn": 0.5, "lost": 0.0}

_GAMES: TypeAdapter[Game] = TypeAdapter(
    Annotated[GuessNumber | HiddenWord | Nim | TicTacToe, Field(discriminator="game")]
)


class MultiTurnGameResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration; there is nothing to set."""


@dataclass(slots=True)
class Match:
    """One game being played."""

    game: Game
    moves: int = 0
    illegal_moves: int = 0

    def take(self, text: str) -> Reply:
        """Make the move that the model's text names; the last turn without an outcome is a loss."""
        self.moves += 1
        try:
            move = move_of(text)
            if move is None:
                raise IllegalMoveError("I found no move. End your turn with it, as in <move>1</move>.")
            reply = self.game.take(move)
        except IllegalMoveError as problem:
            self.illegal_moves += 1
            reply = Reply(str(problem))
        if reply.outcome is None and self.moves >= self.game.max_moves:
            return Reply(f"{reply.text} That was your last turn.", "lost")
        return reply


class MultiTurnGameResourcesServer(GymnasiumServer):
    """Plays `game` with the `setup` of the row."""

    config: MultiTurnGameResourcesServerConfig
    session_state: dict[str | None, Match] = Field(default_factory=dict)

    async def reset(self, metadata: dict[str, Any], session_id: str | None = None) -> tuple[str | None, dict[str, Any]]:
        """Set up the row's game and show its opening."""
        try:
            game = _GAMES.validate_python({**metadata["setup"], "game": metadata["game"]})
        except (KeyError, TypeError, ValidationError) as error:
            raise HTTPException(422, f"the row sets up no game: {error}") from error
        self.session_state[session_id] = Match(game)
        return game.opening(), {}

    async def step(
        self, action: NeMoGymResponse, metadata: dict[str, Any], session_id: str | None = None
    ) -> tuple[str | None, float, bool, bool, dict[str, Any]]:
        """Make the move of the model's turn."""
        match = self.session_state.get(session_id)
        if match is None:
            raise HTTPException(409, "this session has no game: never reset, or over already")
        reply = match.take(extract_text(action))
        info = {"outcome": reply.outcome, "moves": match.moves, "illegal_moves": match.illegal_moves}
        reward = REWARDS[reply.outcome] if reply.outcome else 0.0
        return reply.text, reward, reply.outcome is not None, False, info

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k of wins in percent and means of moves, over all tasks and for each `game`."""
        metrics = compute_pass_majority_metrics(tasks, _scores)[0] | compute_subset_metrics(tasks, "game", _scores)
        rows = [row for task in tasks for row in task]
        metrics |= _means(rows)
        for game in sorted({str(row["game"]) for row in rows if "game" in row}):
            of_game = [row for row in rows if row.get("game") == game]
            metrics |= {f"{game}/{name}": mean for name, mean in _means(of_game).items()}
        return metrics

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        names = ("mean/reward", "mean/moves", "mean/illegal_moves")
        key_metrics: dict[str, Any] = {name: agent_metrics[name] for name in names if name in agent_metrics}
        for pattern in ("pass@1[avg-of-{k}]", "pass@{k}"):
            key_metrics |= highest_k_metrics(agent_metrics, pattern)
        return key_metrics


def _scores(row: dict[str, Any]) -> dict[str, float | bool]:
    outcome = (row.get("info") or {}).get("outcome")
    return {"won": outcome == "won", "drawn": outcome == "drawn"}


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means of what `info` counts."""
    infos = [row["info"] for row in rows if row.get("info")]
    names = ("moves", "illegal_moves")
    return {f"mean/{name}": fmean(info.get(name, 0) for info in infos) for name in names} if infos else {}


if __name__ == "__main__":
    MultiTurnGameResourcesServer.run_webserver()
