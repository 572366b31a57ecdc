"""What is told of a run while it plays."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nemo_gym_lite.rollouts import watch as module
from nemo_gym_lite.rollouts.families import page
from nemo_gym_lite.rollouts.progress import Tally
from nemo_gym_lite.rollouts.vitals import EpisodeSnapshot, Vitals
from nemo_gym_lite.rollouts.watch import Watch
from nemo_gym_lite.routing.snapshot import EndpointSnapshot

A, B = "http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"


class Run:
    """A run as its watch sees it, with time by hand."""

    def __init__(self):
        self.now_s = 50.0
        self.tally = Tally(total=1000, in_flight=95, limit=128, mean_reward=0.73, failed=2, kept=400, cost_usd=0.42)
        self.tally.failure_classes = {"timeout": 2}
        self.vitals = Vitals(
            {"policy_model": [EndpointSnapshot(A, "up", 60, 61, 900, 1, 0.5), EndpointSnapshot(B, "down", 35)]},
            oldest=[EpisodeSnapshot("task 17, rollout 2", 81.0, 3, "model", B)],
        )
        self.watch = Watch(self.tally, lambda: self.vitals, 60.0, lambda: "engines have room", lambda: self.now_s)

    def pass_s(self, seconds, ended=0):
        for _ in range(seconds):
            self.now_s += 1
            self.tally.delivered += ended
            self.watch.look()


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(module, "say", lines.append)
    return lines


def test_the_table_names_endpoints_limit_and_the_oldest_rollouts(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = Run().watch.table()

    rows = [[cell.strip() for cell in line.split("│")] for line in text.splitlines() if line.startswith("│")]
    assert [(row[2], row[3], row[4]) for row in rows] == [(A, "up", "60"), (B, "down", "35")]
    assert "402/1000 rollouts, reward=0.73, failed=2, 95/128 in flight, $0.42" in text
    assert "limit: 128 in flight (engines have room); event loop lag: 0.00 s" in text
    assert f"  task 17, rollout 2: turn 3, model at {B}, for 81 s" in text.splitlines()


def test_a_run_in_which_nothing_ends_is_told_with_the_oldest(said):
    run = Run()
    run.pass_s(100, ended=1)
    assert said == []
    run.pass_s(61)

    [line] = said
    assert line.startswith("no rollout has ended for 60 s, 95 in flight; the oldest:\n  task 17, rollout 2: turn 3")


def test_blocking_code_is_told_once_but_not_what_a_resume_takes(said):
    run = Run()
    run.vitals.loop_lag_s = 8.0  # finding what is kept
    run.pass_s(10, ended=1)
    run.vitals.loop_lag_s = 0.0
    run.pass_s(10, ended=1)
    assert said == []
    run.vitals.loop_lag_s = 3.0
    run.pass_s(100, ended=1)

    [line] = said
    assert line.startswith("warning: nothing moved for 3.0 s, because code in the collector blocked it")


def test_the_history_has_counts_limit_and_the_load_of_each_endpoint():
    run = Run()
    run.pass_s(3, ended=5)
    run.watch.close()
    history = run.watch.history()

    assert history["t_s"][-1] == 3
    assert history["delivered"][-2:] == [15, 15]
    assert set(history) == {"begun", "t_s", "delivered", "failed", "in_flight", "limit", "tokens", "endpoints"}
    assert {url: column[-1] for url, column in history["endpoints"].items()} == {A: 60, B: 35}


def test_prometheus_gets_the_run_and_no_label_names_a_rollout():
    run = Run()
    run.tally.count_time(5000.0)
    text = page(run.watch.families()).decode()

    found = {s.name: s for family in text_string_to_metric_families(text) for s in family.samples}
    assert found["nemo_gym_rollouts_in_flight"].value == 95
    assert found["nemo_gym_rollouts_limit"].value == 128
    assert (found["nemo_gym_rollout_seconds_count"].value, found["nemo_gym_rollout_seconds_sum"].value) == (1, 5000)
    assert found["nemo_gym_cost_usd"].value == 0.42
    assert found["nemo_gym_rollouts_total"].labels == {"server": "collector", "outcome": "timeout"}
    labels = {name for family in text_string_to_metric_families(text) for s in family.samples for name in s.labels}
    assert labels == {"server", "outcome", "kind", "le", "model", "endpoint", "state"}
    assert "task 17" not in text
