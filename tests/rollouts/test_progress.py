"""What the bar promises to whoever looks at it."""

import io
import re

import pytest

from nemo_gym_lite.rollouts.pace import Pace
from nemo_gym_lite.rollouts.progress import Progress, Tally


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def fileno(self):
        raise io.UnsupportedOperation


class Seconds:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Seconds()


def played(progress, tally, clock, *, seconds, per_s):
    for _ in range(seconds):
        clock.now_s += 1.0
        tally.delivered += per_s
        tally.tokens += 100 * per_s
        progress.show()


def test_the_bar_ends_with_what_is_known():
    tally = Tally(total=10, delivered=3, failed=2, in_flight=95, limit=128, mean_reward=0.734, cost_usd=0.4249)

    assert tally.postfix(812.4) == "reward=0.73, failed=2, 812 tok/s, 95/128 in flight, $0.42"


def test_what_is_not_known_is_not_shown():
    assert Tally(total=10).postfix() == "reward=-, failed=0"


def test_usage_of_any_shape_is_no_reason_to_stop():
    tally = Tally(total=10)
    for usage in (None, {}, [], {"output_tokens": None}, {"output_tokens": 7}):
        tally.count_tokens(usage)

    assert tally.tokens == 7


def test_rollouts_kept_from_an_earlier_run_neither_speed_the_bar_up_nor_shorten_the_time_left(clock):
    stream = io.StringIO()
    tally = Tally(total=1000)
    progress = Progress(tally, stream, clock)
    tally.kept = 800
    played(progress, tally, clock, seconds=20, per_s=5)

    last = stream.getvalue().splitlines()[-1]
    assert re.search(r" 90% 900/1000 \[00:20<00:(19|20), 5\.00it/s, reward=-, failed=0, 500 tok/s\]", last), last


def test_the_bar_of_a_terminal_knows_it_too(clock):
    stream = Terminal()
    tally = Tally(total=1000, kept=0)
    progress = Progress(tally, stream, clock)
    tally.kept = 800
    played(progress, tally, clock, seconds=20, per_s=5)

    drawn = stream.getvalue().rsplit("\r", 1)[-1]
    assert re.search(r"90%\|.*900/1000 \[00:00<00:(19|20), {2}5\.00it/s, reward=-, failed=0, 500 tok/s\]", drawn), drawn
    progress.close()


def test_the_last_line_tells_the_speed_of_the_whole_run(clock):
    stream = io.StringIO()
    tally = Tally(total=1000)
    progress = Progress(tally, stream, clock)
    played(progress, tally, clock, seconds=10, per_s=90)
    played(progress, tally, clock, seconds=90, per_s=1)
    progress.close()

    assert "99% 990/1000 [01:40<00:01, 9.90it/s" in stream.getvalue().splitlines()[-1]


def test_the_time_left_follows_a_change_of_speed(clock):
    pace = Pace(0.0, 0)
    count = 0
    for second in range(600):
        count += 10 if second < 300 else 1
        pace.note(second + 1.0, count)

    [per_s] = pace.per_s()
    assert 1.0 < per_s < 2.0


def test_the_pace_is_a_plain_average_at_first():
    pace = Pace(0.0, 100, 7)
    assert pace.per_s() == [0.0, 0.0]
    pace.note(2.0, 110, 7)
    assert pace.per_s() == [5.0, 0.0]


def test_a_run_with_nothing_to_do_says_so(clock):
    stream = io.StringIO()
    tally = Tally(total=133, kept=133, mean_reward=0.64)
    Progress(tally, stream, clock).close()

    assert stream.getvalue() == "Collecting rollouts: 100% 133/133 [00:00<00:00, 0.00it/s, reward=0.64, failed=0]\n"
