"""The benchmark measures what it says: every row played, start and end of the command taken out."""

import pytest

from benchmarks.bench import Bench, Scenario, running_engine
from benchmarks.measured import Usage, slope
from benchmarks.run import SCENARIOS, missed, show


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_engine() as url:
        yield Bench(tmp_path_factory.mktemp("bench"), url)


@pytest.mark.parametrize("scenario", [SCENARIOS[0], SCENARIOS[1], SCENARIOS[2]], ids=lambda each: each.title)
def test_a_scenario_plays_every_row_in_a_process_of_its_own(bench, scenario):
    usage = bench.play(scenario, 20)

    assert usage.cpu_s > 0
    assert usage.peak_mb > 20


def test_a_run_that_lost_rows_is_an_error_and_no_figure(bench):
    with pytest.raises(RuntimeError):
        bench.play(Scenario("of an agent that is not there", resources="nowhere"), 5)


def test_start_and_end_of_a_command_do_not_count():
    cost = slope(Usage(cpu_s=1.1, wall_s=2.0, peak_mb=1), 100, Usage(cpu_s=2.0, wall_s=3.0, peak_mb=1), 1000)

    assert cost.cpu_ms == pytest.approx(1.0)
    assert cost.per_s == pytest.approx(900)


def test_a_bar_is_missed_from_above_or_where_more_is_better_from_below(capsys):
    lines = [("cost", 0.6, 0.3, 0.7, "ms"), ("rate", 1500.0, None, 2000.0, "/s"), ("yardstick", None, None, 9.0, "ms")]

    assert [missed(line) for line in lines] == [True, False, False]
    show(lines)
    assert "MISSED" in capsys.readouterr().out
