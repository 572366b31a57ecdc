"""What `ng_make_tasks` promises: the same seed, the same tasks; no two alike; each can be scored from the file."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from nemo_gym_lite.errors import ConfigError
from resources_servers.reasoning_gym.generators import dataset_names, score
from resources_servers.reasoning_gym.tasks import TaskMaker, shares

pytest.importorskip("reasoning_gym", reason='pip install "nemo-gym-lite[reasoning-gym]"')


def made(weights, size, seed=1, **options):
    names = [weights] if isinstance(weights, str) else weights
    weights = names if isinstance(names, dict) else dict.fromkeys(names, 1.0)
    return list(TaskMaker(weights, seed, **options).rows(size))


def questions(rows, dataset=None):
    return [row["question"] for row in rows if dataset in {None, row["metadata"]["source_dataset"]}]


def test_the_same_seed_makes_the_same_tasks_and_another_seed_others():
    assert made("leg_counting", 20) == made("leg_counting", 20)
    assert not set(questions(made("leg_counting", 20))) & set(questions(made("leg_counting", 20, seed=2)))


def test_no_two_tasks_are_alike_and_a_dataset_that_has_no_more_says_so():
    maker = TaskMaker({"coin_flip": 1.0}, 1, {"coin_flip": {"min_trials": 3, "max_trials": 3}})
    rows = list(maker.rows(500))

    assert len(set(questions(rows))) == len(rows) < 500
    assert maker.short == {"coin_flip"}


def test_a_mixture_has_the_shares_asked_for_and_a_dataset_makes_in_it_what_it_makes_alone():
    rows = made({"leg_counting": 3.0, "gcd": 1.0}, 40)

    assert Counter(row["metadata"]["source_dataset"] for row in rows) == {"leg_counting": 30, "gcd": 10}
    assert questions(rows, "gcd") == questions(made("gcd", 10))
    assert len({row["metadata"]["source_dataset"] for row in rows[:10]}) == 2, "shuffled"


@pytest.mark.parametrize(("size", "each"), [(10, [4, 3, 3]), (2, [1, 1, 0]), (9, [3, 3, 3])])
def test_shares_that_do_not_come_out_even_are_rounded_and_nothing_is_lost(size, each):
    assert sorted(shares(dict.fromkeys("abc", 1.0), size).values(), reverse=True) == each


def test_settings_reach_the_generator_and_the_rows_remember_them():
    rows = made("leg_counting", 5, settings={"leg_counting": {"min_animals": 2, "max_animals": 2}})

    assert all(len(row["metadata"]["animals"]) == 2 for row in rows)
    assert rows[0]["dataset_settings"] == {"min_animals": 2, "max_animals": 2}


def test_an_instruction_of_ones_own_replaces_ours_and_none_leaves_the_question_alone():
    prompts = {
        instruction: made("gcd", 1, instruction=instruction)[0]["responses_create_params"]["input"][0]["content"]
        for instruction in ("Be brief.", "")
    }
    question = made("gcd", 1)[0]["question"]
    assert prompts == {"Be brief.": f"{question}\n\nBe brief.", "": question}


def test_wrong_names_and_settings_are_refused_with_the_right_ones():
    with pytest.raises(ConfigError, match=r"no dataset `leg_countin`[\s\S]*did you mean `leg_counting`"):
        made("leg_countin", 1)
    with pytest.raises(ConfigError, match=r"max_animal[\s\S]*its settings are min_animals, max_animals"):
        made("leg_counting", 1, settings={"leg_counting": {"max_animal": 3}})


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # what arc_agi reads, it leaves open
@pytest.mark.parametrize("dataset", ["sudoku", "countdown", "maze", "word_sorting", "arc_agi", "syllogism"])
def test_tasks_of_many_kinds_score_their_own_answer_once_they_were_in_a_file(dataset):
    assert dataset in dataset_names()
    for row in json.loads(json.dumps(made(dataset, 2))):
        assert score(row, row["answer"], {}).value == pytest.approx(1.0)


def make(folder, *words):
    command = [sys.executable, "-m", "nemo_gym_lite.cli.make_tasks", "+output_jsonl_fpath=tasks.jsonl", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_writes_the_tasks_and_replaces_no_file_unasked(tmp_path):
    first = make(tmp_path, "+dataset=[leg_counting,gcd]", "+size=6", "+settings.gcd.max_numbers=2")
    assert first.returncode == 0, first.stderr
    rows = [json.loads(line) for line in (tmp_path / "tasks.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    assert "6 tasks" in first.stderr

    again = make(tmp_path, "+dataset=gcd")
    assert again.returncode == 2
    assert "overwrite" in again.stderr
