"""The soak judges rightly: curves and windows from what engines record, bars, the report; and a part of it for real."""

import pytest

from benchmarks.soak.commands import Place
from benchmarks.soak.curves import longest_above, most_within, of_manifest, rate
from benchmarks.soak.engines import engine
from benchmarks.soak.spread import fair_shares
from benchmarks.soak.verdict import Line, Panel, Picture, Verdict, at_least, at_most, exactly, told


def test_bars_are_met_up_to_their_value_and_what_is_told_has_none():
    assert [at_most("a", value, 2).met for value in (1.9, 2, 2.1)] == [True, True, False]
    assert [at_least("a", value, 2).met for value in (1.9, 2, 2.1)] == [False, True, True]
    assert (exactly("a", 3, 3).met, exactly("a", 3, 4).met, told("a", 3).met) == (True, False, None)
    figure = at_most("a", 0.98765, 10.0, "s")
    assert (figure.measured, figure.bar) == ("0.988 s", "≤ 10 s")


def test_a_verdict_is_met_if_all_was_played_and_no_bar_was_missed():
    verdict = Verdict(1, "title", "promise")
    assert not verdict.met
    verdict.figures = [told("a", 1), exactly("b", 1, 1)]
    assert verdict.met
    verdict.errors.append("a part broke")
    assert not verdict.met


def test_rates_count_empty_intervals_too():
    line = rate("calls", [10.1, 10.9, 13.0], began_s=10.0)

    assert (line.x, line.y) == ([0.0, 1.0, 2.0, 3.0], [2.0, 0.0, 0.0, 1.0])


def test_the_longest_time_above_a_ceiling_ends_with_any_dip_below_it():
    history = {
        "epoch_s": [0.0, 1.0, 2.0, 4.0, 5.0, 9.0],
        "least_in_flight": [0, 7, 7, 3, 7, 2],
        "in_flight": [7, 7, 7, 7, 7, 2],
    }

    assert longest_above(history, 6, 0.0, 20.0) == 5.0  # from the dip at 4 to the end at 9
    assert longest_above(history, 6, 0.0, 4.0) == 4.0
    assert longest_above(history, 7, 0.0, 20.0) == 0.0


def test_a_window_forgets_what_is_exactly_as_old_as_it_is_long():
    assert most_within([(0.0, 1.0), (30.0, 1.0), (60.0, 1.0)], 60.0) == [(0.0, 1.0), (30.0, 2.0), (60.0, 2.0)]


def test_shares_of_the_revived_endpoint_are_of_its_fair_share():
    steady = [number / 10 for number in range(200)]
    revived = [5.0 + number / 10 for number in range(150)]
    shares = dict(fair_shares([steady, revived], 4.0))

    assert shares[2.0] == pytest.approx(2 / 3, abs=0.05)  # half of that window it was away
    assert shares[5.0] == pytest.approx(1.0, abs=0.01)


def test_the_manifests_history_is_moved_to_the_scenarios_seconds():
    run = {"begun": "1970-01-01T00:01:40+00:00", "t_s": [0.0, 1.0], "limit": [16, 20]}

    assert of_manifest({"history": [run]}, "limit", began_s=97.0) == ([3.0, 4.0], [16, 20])
    assert of_manifest({}, "limit", began_s=97.0) == ([], [])


def test_an_engine_that_was_killed_keeps_its_address_and_its_counts(tmp_path):
    with engine(latency={"ttft_s": 0.05}) as only:
        place = Place(tmp_path, [only])
        run = place.start(place.collect(place.tasks(200), concurrency=10))
        run.until("rows were added", lambda: place.lines() > 20)
        port = only.port
        only.kill()
        only.start()
        run.end().checked()

        assert only.port == port
        assert len(set(place.identities())) == 200
        assert only.counts()["completed"] >= 200 > only.stats()["completed"]
        assert abs(len(only.rows()) - only.counts()["calls"]) <= 10  # read one after the other before the kill
        assert abs(sum(only.history()["completed"]) - only.counts()["completed"]) <= 10
        assert place.manifest()["status"] == "finished"


def test_a_command_that_ends_early_is_not_waited_for(tmp_path):
    with engine() as only:
        place = Place(tmp_path, [only])
        run = place.start(place.collect(tmp_path / "nowhere.jsonl"))
        with pytest.raises(RuntimeError, match="nowhere"):
            run.until("rows were added", place.lines)
        with pytest.raises(RuntimeError, match="ended with 2"):
            run.end().checked()


def test_the_report_has_a_summary_the_figures_and_the_pictures(tmp_path):
    write_report = pytest.importorskip("benchmarks.soak.report").write_report
    line, marks = (
        Line("calls", [0, 1, 2], [1.0, 5.0, 2.0], steps=True),
        [(0.5, "killed"), (1.5, "killed"), (1.7, "stopped")],
    )
    panel = Panel("requests", [line], levels=[(4, "slots")], marks=marks, spans=[(0.2, 0.4, "dead")])
    good = Verdict(1, "Spreading", "It spreads.", [exactly("rows", 3, 3)], [Picture("calls", "Calls", [panel, panel])])
    bad = Verdict(2, "Faults", "It lives.", [at_most("lost", 1, 0)], errors=["RuntimeError: broken"])

    text = write_report(tmp_path, [good, bad], quick=True).read_text()
    assert "| 1. Spreading | 1 of 1 | 0 s | **met** |" in text
    assert "| 2. Faults | 0 of 1 | 0 s | **not played** |" in text
    assert "| lost | 1 | ≤ 0 | **MISSED** |" in text
    assert "![Calls](calls.png)" in text
    assert (tmp_path / "calls.png").stat().st_size > 10_000
