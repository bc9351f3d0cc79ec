"""The source of a slide: what it depends on, and what is missing of it."""

import pytest

from spared_benchmark.catalog.slide_source import SlideSourceDataset
from spared_benchmark.study import Cohort

DEFINITION = {
    "title": "Mine",
    "organism": "human",
    "tissue": "skin",
    "lattice": "hexagonal",
    "format": "space_ranger",
    "licence": "CC0-1.0",
    "citation": "none",
    "slides": {"A": {"subject": "P1", "split": "train", "image": None}},
}
FILES = (
    "filtered_feature_bc_matrix.h5",
    "spatial/scalefactors_json.json",
    "spatial/tissue_positions_list.csv",
)


def source(folder, **changes):
    cohort = Cohort.model_validate({**DEFINITION, **changes}).of_slide("A")
    return SlideSourceDataset(
        filepath=str(folder),
        code="MINE",
        slide="A",
        cohort=cohort.model_dump(mode="json"),
        memory=str(folder.parent / "memory.json"),
    )


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        (tmp_path / "A" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "A" / name).write_text("x")
    return tmp_path / "A"


@pytest.mark.parametrize(
    "changes",
    [
        {"lattice": "square"},
        {"pitch_um": 90.0},
        {"organism": "mouse"},
        {"licence": "MIT"},
        {"tissue": "brain"},
        {"slides": {"A": {"subject": "P2", "split": "train", "image": None}}},
        {"slides": {"A": {"subject": "P1", "split": "train", "image": "scan.jpg"}}},
    ],
)
def test_what_the_reader_uses_counts(folder, changes):
    assert source(folder).fingerprint() != source(folder, **changes).fingerprint()


@pytest.mark.parametrize("changes", [{"title": "Other"}, {"citation": "x"}, {"genes": 5}])
def test_what_the_reader_does_not_use_does_not(folder, changes):
    assert source(folder).fingerprint() == source(folder, **changes).fingerprint()


def test_a_replaced_file_counts(folder):
    before = source(folder).fingerprint()
    (folder / FILES[0]).write_text("another matrix")

    assert source(folder).fingerprint() != before


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()

    assert name in source(folder).problem()


def test_a_missing_image_is_named(folder):
    slides = {"A": {"subject": "P1", "split": "train", "image": "scan[1].jpg"}}
    assert "the image scan[1].jpg" in source(folder, slides=slides).problem()

    (folder / "scan[1].jpg").write_text("x")

    assert source(folder, slides=slides).problem() is None


def test_a_legacy_folder_needs_counts_beside_the_selection(tmp_path):
    (tmp_path / "C2_selection.tsv").write_text("x")
    dataset = source(tmp_path, format="legacy_st")
    assert "a table of counts" in dataset.problem()

    (tmp_path / "C2.tsv").write_text("x")

    assert dataset.problem() is None


def test_what_was_made_of_a_source_that_is_not_mounted_still_counts(folder):
    before = source(folder).fingerprint()
    folder.rename(folder.with_name("elsewhere"))

    assert source(folder).fingerprint() == before
    assert source(folder, lattice="square").fingerprint() != before
    assert "does not exist" in source(folder).problem()
