"""How an endpoint that refuses is asked; pure, with time and dice by hand."""

import random

from nemo_gym_lite.routing.window import LONGEST_PAUSE_S, Window

RNG = random.Random(0)


def refuse(window, count=1, in_flight=1, now_s=0.0, retry_after_s=None, sent_s=None):
    """`count` requests that were sent together are refused."""
    window.send(in_flight)
    for n in range(count):
        window.refuse(in_flight - n, now_s if sent_s is None else sent_s, now_s + 1e-6, retry_after_s, RNG)


def play_round(window, fates, now_s):
    """All that fits is sent together and ends together, refused or answered; returns when the next round may begin."""
    for n, refused in enumerate(fates):
        window.send(len(fates) - n)
        if refused:
            window.refuse(len(fates) - n, now_s, now_s + 0.1, None, RNG)
        else:
            window.answer(len(fates) - n, now_s, now_s + 0.1)
    return max(now_s + 0.1, window.pause_until_s) + 0.01


def test_nothing_is_limited_before_the_first_refusal():
    window = Window()
    window.answer(1000, 0.0, 0.1)

    assert window.has_room(10_000, 0.0)


def test_the_limit_falls_at_once_to_what_the_endpoint_took():
    window = Window()
    refuse(window, count=450, in_flight=500)

    assert window.limit == 50


def test_requests_that_were_on_their_way_when_the_pause_began_make_it_no_longer():
    window = Window()
    refuse(window)
    until_s = window.pause_until_s
    window.refuse(1, -1.0, 0.05, None, RNG)

    assert window.pause_until_s == until_s


def test_nothing_is_sent_for_as_long_as_the_endpoint_asks_for():
    window = Window()
    refuse(window, retry_after_s=3.0)
    window.refuse(1, -1.0, 0.5, 1.0, RNG)  # a straggler that asks for less

    assert not window.has_room(0, 2.99)
    assert window.has_room(0, 3.01)


def test_pauses_grow_as_long_as_nothing_gets_through_up_to_the_longest():
    window, now_s, pauses_s = Window(), 0.0, []
    for _ in range(12):
        refuse(window, now_s=now_s, sent_s=now_s)
        pauses_s.append(window.pause_until_s - now_s)
        now_s = window.pause_until_s

    assert 0.05 <= pauses_s[0] <= 0.11
    assert LONGEST_PAUSE_S / 2 <= pauses_s[-1] <= LONGEST_PAUSE_S + 0.01
    assert all(later > earlier for earlier, later in zip(pauses_s[:5], pauses_s[2:7], strict=True))


def test_the_limit_grows_with_answers_while_it_is_what_holds_requests_back():
    window = Window(limit=4.0)
    for _ in range(10):
        window.answer(1, 0.0, 0.1)
    assert window.limit == 4.0

    for _ in range(10):
        window.answer(4, 0.0, 0.1)
    assert window.limit > 5.5


def test_an_endpoint_that_refuses_a_few_at_random_is_still_asked_by_many():
    window, now_s, dice = Window(), 0.0, random.Random(1)
    for _ in range(3000):
        window.send(100)
        if dice.random() < 0.05:
            refuse(window, in_flight=100, now_s=now_s)
        else:
            window.answer(100, now_s, now_s)
        now_s = max(now_s, window.pause_until_s) + 0.01

    assert window.limit > 50


def test_an_endpoint_with_room_for_eight_is_asked_by_about_eight():
    window, now_s = Window(), 0.0
    limits = []
    for _ in range(300):
        asked = min(100, int(window.limit) if window.limit < 1e9 else 100)
        refused = max(0, asked - 8)
        for n in range(asked - refused):
            window.send(asked)
            window.answer(asked - n, now_s, now_s)
        if refused:
            refuse(window, count=refused, in_flight=asked, now_s=now_s)
        now_s = max(now_s, window.pause_until_s) + 1.0
        limits.append(window.limit)

    assert all(6 <= limit <= 11 for limit in limits[10:])


def test_an_endpoint_that_refuses_a_third_whatever_it_is_asked_is_not_left_with_one_request():
    window, now_s, dice = Window(), 0.0, random.Random(1)
    limits = []
    for _ in range(300):
        asked = min(50, int(min(window.limit, 50)))
        fates = [dice.random() < 1 / 3 for _ in range(asked)]
        now_s = play_round(window, fates, now_s)
        limits.append(window.limit)

    assert min(limits[150:]) > 25


def test_an_endpoint_that_stops_refusing_by_chance_and_fills_up_is_asked_by_what_it_takes():
    window, now_s, dice = Window(), 0.0, random.Random(2)
    limits = []
    for round_ in range(600):
        asked = min(100, int(min(window.limit, 100)))
        room = 100 if round_ < 200 else 10
        fates = [n >= room or (round_ < 200 and dice.random() < 1 / 3) for n in range(asked)]
        now_s = play_round(window, fates, now_s)
        limits.append(window.limit)

    assert max(limits[400:]) < 20
