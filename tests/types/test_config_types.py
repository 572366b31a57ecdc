"""What a `datasets:` entry may say."""

import pytest
from pydantic import ValidationError

from nemo_gym_lite.config_types import BenchmarkDatasetConfig, DatasetConfig

FILE = {"name": "d", "jsonl_fpath": "d.jsonl"}


@pytest.mark.parametrize("kind", ["train", "validation"])
def test_data_to_train_with_needs_a_license(kind):
    with pytest.raises(ValidationError, match="needs a license"):
        DatasetConfig(**FILE, type=kind)

    assert DatasetConfig(**FILE, type=kind, license="TBD").num_repeats == 1
    assert DatasetConfig(**FILE, type="example").license is None


@pytest.mark.parametrize(
    ("older", "origin"),
    [
        ("gitlab_identifier", {"dataset_name": "n", "version": "0.0.1", "artifact_fpath": "a.jsonl"}),
        ("huggingface_identifier", {"repo_id": "a/b", "artifact_fpath": "a.jsonl"}),
    ],
)
def test_the_older_name_of_an_origin_means_the_same(older, origin):
    kind = older.removesuffix("_identifier")

    by_older = DatasetConfig(**FILE, type="example", **{older: origin})
    by_newer = DatasetConfig(**FILE, type="example", source={"type": kind, **origin})

    assert by_older == by_newer
    assert by_newer.source.type == kind


def test_two_origins_that_differ_are_refused():
    with pytest.raises(ValidationError, match="names its origin twice"):
        DatasetConfig(
            **FILE,
            type="example",
            source={"type": "huggingface", "repo_id": "a/b"},
            huggingface_identifier={"repo_id": "a/c"},
        )


def test_a_benchmarks_data_comes_from_a_script():
    with pytest.raises(ValidationError, match="prepare_script"):
        BenchmarkDatasetConfig(**FILE)

    assert BenchmarkDatasetConfig(**FILE, prepare_script="prepare.py").type == "benchmark"
