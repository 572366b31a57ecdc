"""Coming back to an output keeps labels and numbers of its rows, and no row."""

from benchmarks.million import measure_resume

ROWS = 20_000


def test_coming_back_to_an_output_keeps_none_of_its_rows(tmp_path):
    steps = {step.name: step for step in measure_resume(tmp_path, ROWS)}

    assert list(steps)[1:] == ["check of the input", "resume scan", "plan of what is owed", "aggregate metrics"]
    assert (tmp_path / "results.jsonl").stat().st_size > 1_900 * ROWS
    assert steps["aggregate metrics"].memory_mb - steps["imports"].memory_mb < 15
