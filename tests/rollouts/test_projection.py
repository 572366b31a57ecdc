"""What a few rollouts say about all of them."""

import random

from nemo_gym_lite.rollouts.projection import Played, project


def test_nine_of_ten_intervals_hold_what_the_whole_input_takes():
    rng = random.Random(1)
    hits = 0
    for _ in range(1000):
        costs = [rng.gauss(1000, 300) for _ in range(400)]
        projection = project(rng.sample(costs, 20), 400, 20)
        hits += projection.low <= sum(costs) <= projection.high

    assert 860 <= hits <= 940


def test_what_was_played_whole_is_no_guess():
    projection = project([1.0, 2.0, 3.0], 3, 3)

    assert (projection.total, projection.low, projection.high) == (6.0, 6.0, 6.0)


def test_one_task_says_nothing_about_how_much_tasks_differ():
    projection = project([5.0], 100, 1)

    assert (projection.total, projection.low, projection.high) == (500.0, None, None)


def test_repeats_of_a_task_count_as_one_draw():
    played = Played()
    for task, cost in (("a", 1.0), ("b", 3.0)):
        for _ in range(50):
            played.add({"_ng_key": task}, {"cost_usd": cost})
    alone = project([1.0, 3.0], 200, 100)

    assert played.rollouts == 100
    assert played.project("cost_usd", 200) == alone
    assert alone.high - alone.low > alone.total
