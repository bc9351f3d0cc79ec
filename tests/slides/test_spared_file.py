"""Published files as slides: one file, read slide by slide, with the patches that it holds."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from anndata import AnnData
from PIL import Image
from pydantic import ValidationError

from spared_benchmark.errors import InputError
from spared_benchmark.slides.overlay import draw_overlay
from spared_benchmark.slides.preflight import missing_files, source_files
from spared_benchmark.slides.raw import RawSlide
from spared_benchmark.slides.read import read_slide
from spared_benchmark.slides.schema import check
from spared_benchmark.slides.stored_patches import read_rows
from spared_benchmark.tissue.patches import cut_patches, ingestion_row
from spared_samples import (
    CODE,
    SIDE,
    SPLITS,
    Sample,
    as_published,
    definition,
    make_sample,
    write_published,
)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample()


@pytest.fixture(scope="module")
def adata(sample: Sample) -> AnnData:
    return as_published(sample)


@pytest.fixture(scope="module")
def path(adata: AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("published"), adata)


def read(path: Path, slide: str = "V2_A", image: str | None = "hires") -> RawSlide:
    return read_slide(path, definition(image=image), CODE, slide)


def rows_of(adata: AnnData, slide: str) -> np.ndarray:
    return np.flatnonzero(adata.obs["slide_id"] == slide)


@pytest.mark.parametrize("slide", SPLITS)
def test_a_slide_is_what_it_was(path: Path, sample: Sample, slide: str) -> None:
    found = read(path, slide)
    check(found.adata, "slide")
    was = sample.raw[slide]
    same = was.adata[found.adata.obs_names, found.adata.var_names]
    assert np.array_equal(found.adata.X.toarray(), same.X.toarray())
    assert np.array_equal(found.adata.obsm["spatial"], same.obsm["spatial"])
    assert np.array_equal(found.adata.var["symbol"], same.var["symbol"])
    assert np.array_equal(found.image, was.image)
    assert found.image_scale == was.image_scale
    for key in ("spot_diameter_px", "um_per_px", "subject"):
        assert found.adata.uns["slide"][key] == pytest.approx(was.adata.uns["slide"][key])
    assert draw_overlay(found).axes[0].get_title().startswith(f"PUB {slide}")


def test_slides_of_one_file_have_their_own_digests(path: Path) -> None:
    digests = {read(path, slide).adata.uns["slide"]["source_digest"] for slide in SPLITS}
    assert len(digests) == len(SPLITS)


def test_patches_are_taken_as_they_are(path: Path, adata: AnnData) -> None:
    raw = read(path)
    store = cut_patches(raw, "1d")
    flat = adata.obsm["patches_scale_1.0"][rows_of(adata, "V2_A")]
    assert np.array_equal(store.array.reshape(len(flat), -1), flat)
    assert store.names == tuple(raw.adata.obs_names)
    facts = raw.adata.uns["slide"]
    side = int(facts["spot_diameter_px"])
    assert store.um_per_px == pytest.approx((side + side % 2) * facts["um_per_px"] / SIDE)
    row = ingestion_row(raw, store)
    assert (row["image"], row["patch_side_px"]) == ("yes: patches as they came", SIDE)
    assert row["um_per_patch_px"] == store.um_per_px
    assert row["patches_outside"] == 0


def test_the_window_may_be_given_in_um(path: Path) -> None:
    raw = read(path)
    assert cut_patches(raw, "55um").side == SIDE, "55 µm is the diameter of a spot"


def test_another_window_is_cut_from_the_stored_image(path: Path, sample: Sample) -> None:
    raw, was = read(path), sample.raw["V2_A"]
    was = RawSlide(was.adata[raw.adata.obs_names], was.image, was.image_scale)
    found, expected = cut_patches(raw, "2d"), cut_patches(was, "2d")
    assert np.array_equal(found.array, expected.array)
    assert ingestion_row(raw, found)["image"] == "yes"


def test_without_patches_they_are_cut(tmp_path: Path, sample: Sample) -> None:
    raw = read(write_published(tmp_path, as_published(sample, patches=False)))
    assert raw.patches is None
    assert cut_patches(raw, "1d").side == 8


def test_patches_will_do_without_the_image(tmp_path: Path, adata: AnnData) -> None:
    changed = adata.copy()
    for library in changed.uns["spatial"].values():
        del library["images"]
    raw = read(write_published(tmp_path, changed))
    assert raw.image is None
    store = cut_patches(raw, "1d")
    assert store.side == SIDE
    assert ingestion_row(raw, store)["image"] == "yes: patches as they came"
    with pytest.raises(InputError, match="no patches of this window can be cut"):
        cut_patches(raw, "3d")


def test_without_image_neither_is_read(path: Path) -> None:
    raw = read(path, image=None)
    assert (raw.image, raw.patches) == (None, None)


def test_an_image_beside_the_file_goes_before_the_patches(
    tmp_path: Path, adata: AnnData, sample: Sample
) -> None:
    path = write_published(tmp_path, adata)
    small = Image.fromarray(sample.raw["V2_A"].image)
    small.resize((small.width * 4, small.height * 4)).save(tmp_path / "scan.png")
    raw = read(path, image="scan.png")
    assert (raw.patches, raw.image_scale) == (None, 1.0)
    assert cut_patches(raw, "1d").side == 32


def test_spots_outside_tissue_are_left_out(tmp_path: Path, adata: AnnData) -> None:
    changed = adata.copy()
    rows = rows_of(changed, "V2_A")
    changed.obs.loc[changed.obs_names[rows[4]], "in_tissue"] = 0
    raw = read(write_published(tmp_path, changed))
    kept = np.delete(rows, 4)
    assert raw.adata.n_obs == kept.size
    assert np.array_equal(
        cut_patches(raw, "1d").array[4].ravel(), adata.obsm["patches_scale_1.0"][kept[4]]
    )


def test_slides_need_not_lie_in_one_piece(tmp_path: Path, adata: AnnData) -> None:
    order = np.random.default_rng(1).permutation(adata.n_obs)
    whole, mixed = read(write_published(tmp_path / "a", adata)), adata[order].copy()
    raw = read(write_published(tmp_path / "b", mixed))
    back = raw.adata.obs_names.get_indexer(whole.adata.obs_names)
    assert np.array_equal(raw.adata.X[back].toarray(), whole.adata.X.toarray())
    assert np.array_equal(cut_patches(raw, "1d").array[back], cut_patches(whole, "1d").array)


@pytest.mark.parametrize("chunks", [None, (7, 3)])
def test_rows_are_read_in_stretches(
    tmp_path: Path, chunks: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spared_benchmark.slides.stored_patches._BYTES_AT_ONCE", 100)
    values = np.arange(60 * 5).reshape(60, 5)
    rows = np.array([0, 1, 2, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 59])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = file.create_dataset("a", data=values, chunks=chunks)
        assert np.array_equal(read_rows(stored, rows), values[rows])
        assert read_rows(stored, rows[:0]).shape == (0, 5)


def test_the_folder_or_the_file_is_named(path: Path, tmp_path: Path, adata: AnnData) -> None:
    by_folder, by_file = read(path.parent), read(path)
    assert by_folder.adata.uns["slide"] == by_file.adata.uns["slide"]
    (path.parent / "adata_raw.h5ad").write_bytes(b"x")
    assert read(path.parent).adata.n_obs == by_file.adata.n_obs
    assert source_files(path.parent, "spared", "hires") == [path]
    assert source_files(path, "spared", "hires") == [path]
    renamed = write_published(tmp_path, adata).rename(tmp_path / "VLO.h5ad")
    assert read(tmp_path).adata.n_obs == by_file.adata.n_obs
    assert source_files(tmp_path, "spared", None) == [renamed]
    renamed.with_name("other.h5ad").write_bytes(b"x")
    with pytest.raises(InputError, match="2 files could be the published cohort"):
        read(tmp_path)


def test_what_is_missing_is_told_before_a_run(path: Path, tmp_path: Path) -> None:
    assert missing_files(path, "spared", "hires") is None
    assert missing_files(path.parent, "spared", None) is None
    assert "lacks the image scan.png" in str(missing_files(path, "spared", "scan.png"))
    assert "lacks the image scan.png" in str(missing_files(path.parent, "spared", "scan.png"))
    assert "lacks adata.h5ad" in str(missing_files(tmp_path, "spared", "hires"))
    assert "does not exist" in str(missing_files(tmp_path / "no.h5ad", "spared", "hires"))


def test_an_unknown_slide_names_those_of_the_file(path: Path) -> None:
    cohort = definition()
    slides = {**cohort.slides, "V9": cohort.slides["V1_A"]}
    with pytest.raises(InputError, match=r"no slide 'V9'.*the file has V1_A, V1_C, V2_A, V2_B"):
        read_slide(path, cohort.model_copy(update={"slides": slides}), CODE, "V9")


WRONG = {
    "no slides": (lambda a: a.obs.pop("slide_id"), "obs: no 'slide_id'; found in_tissue"),
    "no counts": (lambda a: a.layers.pop("counts"), "layers: no 'counts'.*not adata_raw.h5ad"),
    "no positions": (lambda a: a.obsm.pop("spatial"), "obsm: no 'spatial'"),
    "no image": (lambda a: (a.uns.clear(), a.obsm.pop("patches_scale_1.0")), "no hires image"),
    "patches": (
        lambda a: a.obsm.update({"patches_scale_1.0": np.zeros((a.n_obs, 10), np.uint8)}),
        r"obsm\['patches_scale_1.0'\]: found uint8 .*, 10\)",
    ),
}


@pytest.mark.parametrize("problem", WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, adata: AnnData, problem: str) -> None:
    change, message = WRONG[problem]
    changed = adata.copy()
    change(changed)
    with pytest.raises(InputError, match=message) as error:
        read(write_published(tmp_path, changed))
    assert "adata.h5ad" in str(error.value)


def test_slides_of_one_file_have_no_source() -> None:
    slides = definition().model_dump()["slides"]
    slides["V1_A"]["source"] = "V1_A"
    with pytest.raises(ValidationError, match=r"have no 'source'.*found one for V1_A"):
        definition(slides=slides)
