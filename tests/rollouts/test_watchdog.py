"""When the watchdog barks, and what it says."""

from nemo_gym_lite.rollouts.vitals import EpisodeSnapshot
from nemo_gym_lite.rollouts.watchdog import Watchdog

A = "http://127.0.0.1:8000/v1"
OLDEST = [
    EpisodeSnapshot("task 17, rollout 2", 81.0, 3, "model", A),
    EpisodeSnapshot("task 3, rollout 0", 70.4, 1, "verify", A),
    EpisodeSnapshot("task 4, rollout 0", 60.0, 0, "seed", None),
    EpisodeSnapshot("task 5, rollout 0", 59.0, 0, "seed", None),
]


def test_a_hanging_tail_is_told_with_its_three_oldest_rollouts_their_turn_and_endpoint():
    assert Watchdog(60, now_s=0).look(60, OLDEST, 0, 4) == (
        "no rollout has ended for 60 s, 4 in flight; the oldest:\n"
        f"  task 17, rollout 2: turn 3, model at {A}, for 81 s\n"
        "  task 3, rollout 0: turn 1, verify, for 70 s\n"
        "  task 4, rollout 0: seed, for 60 s"
    )


def test_it_keeps_quiet_while_rollouts_end():
    watchdog = Watchdog(60, now_s=0)

    assert not any(watchdog.look(second, OLDEST, second // 50, 4) for second in range(1000))


def test_a_long_silence_is_told_ever_more_rarely_and_afresh_after_it_ended():
    watchdog = Watchdog(60, now_s=0)

    assert [second for second in range(1, 1000) if watchdog.look(second, OLDEST, 5, 4)] == [61, 121, 241, 481, 961]
    assert [second for second in range(1000, 1200) if watchdog.look(second, OLDEST, 6, 4)] == [1060, 1120]


def test_nobody_hangs_where_nothing_is_in_flight():
    watchdog = Watchdog(60, now_s=0)

    assert watchdog.look(300, [], 0, 0) is None
    assert watchdog.look(301, OLDEST, 0, 1) is None
