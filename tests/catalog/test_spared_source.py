"""A published file as a source: found by name, known by size and time, never opened."""

import os

import pytest

from spared_benchmark.catalog.slide_source import SlideSourceDataset
from spared_benchmark.catalog.spared_source import SparedSourceDataset
from spared_samples import CODE, definition


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "PUB"
    folder.mkdir()
    (folder / "adata.h5ad").write_text("x")
    return folder / "adata.h5ad"


def whole(path):
    memory = str(path.parents[1] / "memory.json")
    return SparedSourceDataset(filepath=str(path), memory=memory)


def of_slide(path, slide="V1_A", **changes):
    cohort = definition(**changes).of_slide(slide)
    return SlideSourceDataset(
        filepath=str(path),
        code=CODE,
        slide=slide,
        cohort=cohort.model_dump(mode="json"),
        memory=str(path.parents[1] / f"{slide}.json"),
    )


@pytest.mark.parametrize("make", [whole, of_slide])
def test_the_file_counts_by_size_and_time(file, make):
    before = make(file.parent).fingerprint()
    (file.parent / "adata_raw.h5ad").write_text("another file")
    (file.parent / "qc_plots").mkdir()
    assert make(file.parent).fingerprint() == before

    os.utime(file, ns=(1, 1))
    later = make(file.parent).fingerprint()
    assert later != before

    file.write_text("xx")
    os.utime(file, ns=(1, 1))
    assert make(file.parent).fingerprint() != later


def test_the_folder_or_the_file_may_be_named(file):
    assert whole(file).fingerprint() == whole(file.parent).fingerprint()
    assert whole(file.parent).load() == file.parent
    assert whole(file).problem() is None


@pytest.mark.parametrize("make", [whole, of_slide])
def test_a_missing_file_is_told_and_still_counts(file, make):
    before = make(file.parent).fingerprint()
    file.unlink()

    assert "lacks adata.h5ad" in make(file.parent).problem()
    assert make(file.parent).fingerprint() == before


def test_an_image_beside_the_file_counts_for_its_slide(file):
    slides = definition().model_dump()["slides"]
    slides["V1_A"]["image"] = "scan.png"
    with_image = of_slide(file.parent, slides=slides)
    assert "the image scan.png" in with_image.problem()
    before, other = with_image.fingerprint(), of_slide(file.parent, "V2_A").fingerprint()

    (file.parent / "scan.png").write_text("x")

    assert with_image.problem() is None
    assert with_image.fingerprint() != before
    assert of_slide(file.parent, "V2_A").fingerprint() == other


def test_no_node_writes_it(file):
    with pytest.raises(TypeError, match="a published file is an input"):
        whole(file).write(file, file)
