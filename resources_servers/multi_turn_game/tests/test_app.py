"""What players may rely on: the rules of each game, what a turn is worth, and that every example can be won."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.multi_turn_game.app import (
    MultiTurnGameResourcesServer,
    MultiTurnGameResourcesServerConfig,
)
from resources_servers.multi_turn_game.games import IllegalMoveError, move_of
from resources_servers.multi_turn_game.guess_number import GuessNumber
from resources_servers.multi_turn_game.hidden_word import HiddenWord, marked
from resources_servers.multi_turn_game.nim import Nim, winning_moves
from resources_servers.multi_turn_game.tic_tac_toe import TicTacToe, outcome_of, worth

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
GUESS = {"low": 1, "high": 20, "secret": 13, "max_moves": 3}


@pytest.fixture
def server():
    config = MultiTurnGameResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="game")
    neighbours = ServerClient(head_server_config=HeadServerConfig(), global_config_dict=OmegaConf.create({}))
    return MultiTurnGameResourcesServer(config=config, server_client=neighbours)


@pytest.fixture
def client(server):
    return TestClient(server.setup_webserver())


def row(game="guess_number", **setup):
    return {"responses_create_params": {"input": "play"}, "game": game, "setup": setup or GUESS}


def step(client, row, text):
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": content}
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message]}
    return client.post("/step", json={**row, "response": response})


def test_a_game_is_played_from_its_opening_to_its_end(client):
    assert client.post("/reset", json=row()).json()["observation"] == (
        "I have chosen a number from 1 to 20. You have 3 guesses."
    )
    first = step(client, row(), "Half way. <move>10</move>").json()
    assert (first["observation"], first["reward"], first["terminated"]) == ("My number is higher than 10.", 0.0, False)
    last = step(client, row(), "<move>13</move>").json()
    assert (last["reward"], last["terminated"], last["truncated"]) == (1.0, True, False)
    assert last["info"] == {"outcome": "won", "moves": 2, "illegal_moves": 0}


def test_a_turn_without_a_legal_move_is_told_so_and_used_up(client):
    client.post("/reset", json=row())
    assert "no move" in step(client, row(), "13").json()["observation"]
    assert "not from 1 to 20" in step(client, row(), "<move>99</move>").json()["observation"]
    last = step(client, row(), "<move>1</move>").json()
    assert (last["reward"], last["info"]) == (0.0, {"outcome": "lost", "moves": 3, "illegal_moves": 2})


def test_a_session_plays_its_own_game_and_none_after_its_end(client, server):
    other = TestClient(client.app)
    client.post("/reset", json=row())
    other.post("/reset", json=row(**GUESS | {"secret": 4}))
    assert step(client, row(), "<move>13</move>").json()["reward"] == 1.0
    assert step(other, row(), "<move>13</move>").json()["observation"] == "My number is lower than 13."
    assert step(client, row(), "<move>13</move>").status_code == 409
    assert len(server.session_state) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"game": "chess", "setup": GUESS},
        {"game": "guess_number", "setup": {**GUESS, "secret": 99}},
        {"game": "guess_number", "setup": {**GUESS, "colour": "red"}},
        {"game": "guess_number"},
    ],
)
def test_a_setup_that_makes_no_game_is_refused(client, wrong):
    reply = client.post("/reset", json={"responses_create_params": {"input": "play"}, **wrong})
    assert reply.status_code == 422
    assert "sets up no game" in reply.text


@pytest.mark.parametrize(
    ("text", "move"),
    [
        ("<move>5</move>", "5"),
        ("First <move>1</move>, no: <move> 2 3 </move>.", "2 3"),
        ("<move>a<move>b</move>", "b"),
        ("<move>5", None),
        ("5</move>", None),
        ("</move><move>", None),
        ("", None),
        ("<move></move>", ""),
    ],
)
def test_the_last_marked_move_counts(text, move):
    assert move_of(text) == move


@pytest.mark.parametrize(
    ("guess", "secret", "marks"),
    [
        ("crane", "canoe", "+-??+"),
        ("ocean", "canoe", "?????"),
        ("eerie", "otter", "?-?--"),
        ("otter", "otter", "+++++"),
        ("tattt", "otter", "?-+--"),
    ],
)
def test_letters_are_marked_as_often_as_the_word_has_them(guess, secret, marks):
    assert marked(guess, secret) == marks


@pytest.mark.parametrize("move", ["", "longer", "st0ne", "stöne"])
def test_a_guess_of_a_word_has_as_many_plain_letters(move):
    with pytest.raises(IllegalMoveError, match="5 letters"):
        HiddenWord(game="hidden_word", secret="stone", max_moves=3).take(move)


@pytest.mark.parametrize("move", ["x", "1.5", "0", "21", "9" * 5000])
def test_a_guess_of_a_number_is_a_whole_one_within_the_bounds(move):
    with pytest.raises(IllegalMoveError):
        GuessNumber(game="guess_number", **GUESS).take(move)


@pytest.mark.parametrize("move", ["1", "1 9", "0 1", "4 1", "1 0", "one two", "1 1 1"])
def test_a_move_of_nim_takes_tokens_that_are_there(move):
    with pytest.raises(IllegalMoveError):
        Nim(game="nim", heaps=[3, 4, 5], seed=1, skill=1, max_moves=9).take(move)


def test_a_perfect_opponent_wins_nim_from_a_good_position():
    game = Nim(game="nim", heaps=[1, 1], seed=1, skill=1, max_moves=9)
    assert winning_moves([1, 1]) == []
    assert game.take("1 1").outcome == "lost"


def test_a_perfect_opponent_never_loses_tic_tac_toe():
    assert worth(" " * 9, "X") == 0
    for first in "123456789":
        game = TicTacToe(game="tic_tac_toe", seed=3, skill=1, max_moves=9)
        reply, left = game.take(first), "123456789"
        while reply.outcome is None:
            left = [cell for cell in left if cell in reply.text]
            reply = game.take(left[0])
        assert reply.outcome in ("drawn", "lost")


@pytest.mark.parametrize(("board", "outcome"), [("XXXOO    ", "won"), ("XXOXO O  ", "lost"), ("XOXXOOOXX", "drawn")])
def test_three_in_a_row_end_the_game_and_so_does_a_full_board(board, outcome):
    assert outcome_of(board) == outcome


@pytest.mark.parametrize("move", ["0", "10", "a", "", "12"])
def test_a_cell_is_one_of_nine(move):
    with pytest.raises(IllegalMoveError):
        TicTacToe(game="tic_tac_toe", seed=1, skill=0, max_moves=9).take(move)


def test_a_taken_cell_is_taken():
    game = TicTacToe(game="tic_tac_toe", seed=1, skill=0, max_moves=9)
    game.take("5")
    with pytest.raises(IllegalMoveError, match="taken"):
        game.take("5")


def test_an_opponents_choices_follow_from_its_seed():
    def opening(seed):
        return TicTacToe(game="tic_tac_toe", seed=seed, skill=0, begins="opponent", max_moves=9).opening()

    assert opening(5) == opening(5)
    assert len({opening(seed) for seed in range(30)}) > 3


def test_metrics_come_overall_and_by_game(server):
    def played(game, outcome, moves, reward):
        return {"game": game, "reward": reward, "info": {"outcome": outcome, "moves": moves, "illegal_moves": 0}}

    tasks = [
        [played("nim", "won", 3, 1.0), played("nim", "lost", 5, 0.0)],
        [played("tic_tac_toe", "drawn", 4, 0.5), played("tic_tac_toe", None, 12, 0.0)],
    ]
    metrics = server.compute_metrics(tasks)
    assert metrics["pass@1[avg-of-2]/won"] == pytest.approx(25)
    assert metrics["nim/pass@2/won"] == pytest.approx(100)
    assert (metrics["mean/moves"], metrics["nim/mean/moves"]) == (6.0, 4.0)
    key_metrics = server.get_key_metrics({**metrics, "mean/reward": 0.375})
    assert {"mean/reward", "mean/moves", "pass@2/won", "pass@1[avg-of-2]/won"} <= set(key_metrics)


def test_the_data_holds_six_different_games_of_each_kind():
    prompts = [row["responses_create_params"]["input"][1]["content"] for row in ROWS]
    assert len(set(prompts)) == len(ROWS) == 24
    assert all(sum(row["game"] == game for row in ROWS) == 6 for game in {row["game"] for row in ROWS})


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_row_can_be_won_as_its_reference_says(client, row):
    assert client.post("/reset", json=row).status_code == 200
    replies = [step(client, row, turn).json() for turn in row["reference_turns"]]
    assert [reply["terminated"] for reply in replies] == [False] * (len(replies) - 1) + [True]
    assert replies[-1]["reward"] == 1.0
    assert replies[-1]["info"]["illegal_moves"] == 0
