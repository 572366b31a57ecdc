"""What rollouts may rely on when several workers share them and some of those die."""

import random
from collections import Counter

import pytest

from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.rollouts.roster import MAX_DEATHS, SUSPECT_AFTER, Roster, Ticket


@pytest.fixture
def roster():
    made = Roster(random.Random(7))
    made.join(1)
    made.join(2)
    return made


def ticket(number, task=None, deaths=0):
    label = number if task is None else task
    return Ticket(number, Spec({}, f"key{label}", label, 0, "agent", 0), 0, deaths)


def hand_out(roster, *tickets):
    for each in tickets:
        roster.add(each)
    return list(roster.placed())


def test_rollouts_of_different_tasks_are_spread_evenly(roster):
    placed = hand_out(roster, *map(ticket, range(100)))

    assert Counter(each.worker for each in placed) == {1: 50, 2: 50}


def test_a_free_place_goes_to_the_worker_that_has_the_fewest(roster):
    placed = hand_out(roster, *map(ticket, range(20)))
    for each in placed:
        if each.worker == 2 and each.number < 10:
            roster.remove(each)

    [late] = hand_out(roster, ticket(100))

    assert late.worker == 2


def test_repeats_of_a_task_stay_together_where_that_unbalances_little(roster):
    hand_out(roster, *map(ticket, range(100)))

    repeats = hand_out(roster, *(ticket(200 + n, task=500) for n in range(8)))

    assert len({each.worker for each in repeats}) == 1


def test_a_single_task_with_many_repeats_still_uses_every_worker(roster):
    placed = hand_out(roster, *(ticket(n, task=1) for n in range(64)))

    shares = Counter(each.worker for each in placed)
    assert max(shares.values()) <= 1.5 * min(shares.values())


def test_rollouts_wait_while_no_worker_is_ready():
    roster = Roster()
    early = ticket(1)
    assert hand_out(roster, early) == []

    roster.join(3)

    assert list(roster.placed()) == [early]
    assert early.worker == 3


def test_a_dead_worker_gives_its_rollouts_back_in_their_order(roster):
    placed = hand_out(roster, *map(ticket, range(10)))

    orphans = roster.leave(1)

    assert orphans == [each for each in placed if each.deaths == 1]
    assert all(each.worker is None for each in orphans)
    assert {each.worker for each in hand_out(roster, *orphans)} == {2}


def test_a_rollout_that_nobody_waits_for_any_more_is_not_played():
    roster = Roster()
    gone, suspect, wanted = ticket(1), ticket(2, deaths=SUSPECT_AFTER), ticket(3)
    hand_out(roster, gone, suspect, wanted)
    roster.remove(gone)
    roster.remove(suspect)

    roster.join(1)

    assert list(roster.placed()) == [wanted]


def test_the_more_workers_died_with_a_rollout_the_smaller_its_company(roster):
    for deaths, most in [(2, 64), (3, 16), (4, 4), (5, 1), (MAX_DEATHS - 1, 1)]:
        suspects = [ticket(n, deaths=deaths) for n in range(200)]

        placed = hand_out(roster, *suspects)

        assert Counter(each.worker for each in placed) == {1: most, 2: most}
        for each in suspects:
            roster.remove(each)


def test_a_strong_suspect_is_joined_by_no_other(roster):
    [strong] = hand_out(roster, ticket(1, deaths=5))

    weak = hand_out(roster, *(ticket(10 + n, deaths=SUSPECT_AFTER) for n in range(10)))

    assert strong.worker not in {each.worker for each in weak}


def test_suspects_follow_one_another_until_all_are_played(roster):
    suspects = [ticket(n, deaths=5) for n in range(20)]
    placed = hand_out(roster, *suspects)
    for each in placed:  # grows while it is walked over
        roster.remove(each)
        placed += roster.placed()

    assert placed == suspects


def test_one_rollout_that_kills_is_given_up_and_all_others_get_through(roster):
    """500 in flight; whoever plays number 0 dies before anything else there ends."""
    killer, deaths = ticket(0), Counter()
    playing = hand_out(roster, killer, *map(ticket, range(1, 500)))
    while killer.deaths < MAX_DEATHS:
        if killer.worker is not None:
            died = killer.worker
            orphans = roster.leave(died)
            deaths.update(each for each in orphans if each is not killer)
            roster.join(died)
            playing = [each for each in playing if each.worker is not None]
            playing += hand_out(roster, *(each for each in orphans if each.deaths < MAX_DEATHS))
        for each in [each for each in playing if each.worker != killer.worker]:
            roster.remove(each)
            playing.remove(each)
            playing += roster.placed()

    assert max(deaths.values()) <= MAX_DEATHS / 2
