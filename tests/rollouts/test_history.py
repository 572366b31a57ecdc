"""What the history of a run promises."""

import orjson

from nemo_gym_lite.rollouts.history import MOST_POINTS, History, thinned, with_run

A, B = "http://a/v1", "http://b/v1"


def history_of(seconds):
    history = History(interval_s=1.0)
    for t_s in range(seconds):
        if history.is_due(t_s):
            history.note(t_s, {"delivered": 2 * t_s, "in_flight": 7}, {A: 3} if t_s < 10 else {A: 3, B: 4})
    return history.as_json()


def test_a_run_of_days_has_a_few_hundred_points_evenly_spaced_over_all_of_it():
    run = history_of(3 * 24 * 3600)

    steps = {later - earlier for earlier, later in zip(run["t_s"], run["t_s"][1:], strict=False)}
    assert MOST_POINTS / 2 <= len(run["t_s"]) <= MOST_POINTS
    assert len(steps) == 1
    assert run["t_s"][0] == 0
    assert run["t_s"][-1] >= 3 * 24 * 3600 - max(steps)


def test_columns_have_equal_lengths_though_endpoints_come_and_go():
    run = history_of(20)

    assert run["delivered"] == [2 * t_s for t_s in range(20)]
    assert run["endpoints"] == {A: [3] * 20, B: [None] * 10 + [4] * 10}


def test_an_empty_history_is_one_too():
    assert History().as_json() == {"t_s": [], "endpoints": {}}
    assert thinned(History().as_json()) == {"t_s": [], "endpoints": {}}


def test_earlier_runs_stay_in_fewer_points_that_still_reach_their_end():
    runs = []
    for _ in range(50):
        runs = with_run(runs, history_of(600) | {"begun": "2026-11-20T23:00:00+00:00"})

    assert len(runs) == 20
    assert [len(run["t_s"]) for run in runs] == [150] * 19 + [600]
    assert runs[0]["t_s"][-1] == 599
    assert {len(column) for column in runs[0]["endpoints"].values()} == {150}
    assert len(orjson.dumps(runs)) < 300_000
