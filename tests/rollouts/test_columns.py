"""What a column of numbers gives back: the numbers it was given, and their statistics to the last digit."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_gym_lite.rollouts import columns
from nemo_gym_lite.rollouts.columns import Column, statistics_of

WHOLE = st.integers(-(2**40), 2**40) | st.integers(-130, 130) | st.sampled_from([-128, -(2**15), -(2**31), 2**31 - 1])
NUMBERS = WHOLE.map(float) | st.floats(-1e100, 1e100)


def filled(values):
    column = Column()
    for position, value in enumerate(values):
        if value is not None:
            column.put(position, value)
    return column


@given(st.lists(NUMBERS | st.none()))
def test_a_column_gives_back_every_number_and_every_gap(values):
    column = filled(values)

    assert [column.at(position) for position in range(len(values))] == values
    assert list(column) == [value for value in values if value is not None]
    assert column.count == len(list(column))
    assert column.at(len(values)) is None


@given(st.lists(NUMBERS, min_size=1, max_size=200))
def test_statistics_are_the_same_for_many_values_and_for_few(values):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_MAX_SORTED", 2)
        patch.setattr(columns, "_BUCKETS", 3)
        many = filled(values).statistics()

    assert many == pytest.approx(statistics_of(values))
    assert many.median == statistics.median(values)
    assert (many.min, many.max) == (min(values), max(values))


def test_a_column_of_a_hundred_thousand_numbers_has_their_median():
    values = [float(n * 7919 % 100_003) ** 0.5 for n in range(100_001)]

    assert filled(values).statistics() == pytest.approx(statistics_of(values))


def test_small_whole_numbers_take_a_byte_each_and_a_fraction_widens_them():
    column = filled([1.0, 0.0, None, 1.0] * 1000)
    assert column.memory_bytes < 2 * 4000

    column.put(4000, 0.5)
    assert column.memory_bytes >= 8 * 4001
    assert list(column) == [1.0, 0.0, 1.0] * 1000 + [0.5]


def test_a_position_that_has_a_value_keeps_it():
    column = filled([1.0])

    assert not column.put(0, 2.0)
    assert column.at(0) == column.sum == 1.0
