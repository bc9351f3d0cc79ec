"""Patches lie on their spots, keep their pixels, and say what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from spared_benchmark.errors import ConfigurationError, ContractError, InputError
from spared_benchmark.slides.raw import RawSlide
from spared_benchmark.tissue.patches import PatchStore, cut_patches, ingestion_row, window_side

CENTRES = np.array([[20.0, 50.0], [60.0, 50.0], [100.0, 30.0], [140.0, 90.0]])  # x, y


def make_raw(
    image: np.ndarray | None,
    centres: np.ndarray = CENTRES,
    diameter: float = 10.0,
    scale: float = 1.0,
) -> RawSlide:
    """Make a slide whose image shows ``centres``; full-resolution positions follow from scale."""
    n = len(centres)
    adata = AnnData(
        sparse.csr_matrix(np.arange(n * 2, dtype=np.int32).reshape(n, 2)),
        obs=pd.DataFrame(index=[f"s{i}" for i in range(n)]),
        obsm={"spatial": centres / scale},
    )
    adata.uns["slide"] = {
        "cohort": "C",
        "slide": "S",
        "subject": "P",
        "spot_diameter_px": diameter / scale,
        "um_per_px": 5.5 * scale,
        "source_digest": "d",
    }
    return RawSlide(adata, image, scale)


def dotted(height: int = 120, width: int = 180) -> np.ndarray:
    """White, with a dot of its own colour around every centre."""
    image = np.full((height, width, 3), 255, dtype=np.uint8)
    y, x = np.indices((height, width))
    for number, (centre_x, centre_y) in enumerate(CENTRES):
        inside = (x + 0.5 - centre_x) ** 2 + (y + 0.5 - centre_y) ** 2 <= 25
        image[inside] = [40 * number, 200 - 40 * number, 7]
    return image


@pytest.mark.parametrize("scale", [1.0, 0.25, 3.0])
def test_every_patch_shows_its_own_dot_in_the_middle(scale: float) -> None:
    store = cut_patches(make_raw(dotted(), scale=scale), "1d")
    assert store.array.shape == (4, 10, 10, 3)
    for number, patch in enumerate(store.array):
        assert patch[5, 5].tolist() == [40 * number, 200 - 40 * number, 7]
        dot = (patch[..., 2] == 7).astype(int)
        assert np.array_equal(dot, dot[::-1])
        assert np.array_equal(dot, dot[:, ::-1])
        assert dot.sum() > 60
    assert store.names == ("s0", "s1", "s2", "s3")
    assert store.um_per_px == pytest.approx(5.5)


def test_columns_are_x() -> None:
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[..., 0], image[..., 1] = np.arange(60), np.arange(40)[:, None]
    patch = cut_patches(make_raw(image, np.array([[50.0, 10.0]])), "1d").array[0]
    assert patch[0, :, 0].tolist() == list(range(45, 55))
    assert patch[:, 0, 1].tolist() == list(range(5, 15))


def test_window_leaving_the_image_is_reflected() -> None:
    image = np.zeros((12, 12, 3), dtype=np.uint8)
    image[..., 0] = np.arange(12)
    corners = np.array([[0.0, 6.0], [11.0, 6.0]])
    left, right = cut_patches(make_raw(image, corners), "1d").array
    assert left[0, :, 0].tolist() == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]
    assert right[0, :, 0].tolist() == [6, 7, 8, 9, 10, 11, 10, 9, 8, 7]


def test_a_window_larger_than_the_image_is_filled() -> None:
    image = np.zeros((3, 3, 3), dtype=np.uint8)
    image[..., 0] = np.arange(3)
    patch = cut_patches(make_raw(image, np.array([[1.0, 1.0]])), "1d").array[0]
    assert patch[0, :, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0, 1]


@pytest.mark.parametrize(
    ("window", "side"), [("1d", 10), ("1.5d", 16), ("2d", 20), ("55um", 10), ("61um", 12)]
)
def test_side_is_native_and_even(window: str, side: int) -> None:
    raw = make_raw(dotted())
    assert window_side(raw, window) == side
    assert cut_patches(raw, window).side == side


@pytest.mark.parametrize("window", ["", "d", "1 d", "1px", "112µm", "-1d", "1e2um", "1d "])
def test_other_windows_are_refused(window: str) -> None:
    with pytest.raises(ConfigurationError, match=r"such as '1d', '1\.5d' or '112um'"):
        cut_patches(make_raw(dotted()), window)


def test_tiny_window_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 2 are needed"):
        cut_patches(make_raw(dotted()), "0.1d")


def test_large_windows_are_averaged_by_area() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, size=(600, 640, 3), dtype=np.uint8)
    centres = np.array([[320.0, 300.0], [290.0, 280.0]])
    store = cut_patches(make_raw(image, centres, diameter=448), "1d")
    window = image[76:524, 96:544].astype(float)
    blocks = window.reshape(224, 2, 224, 2, 3).mean(axis=(1, 3))
    assert np.abs(store.array[0] - blocks).max() <= 0.51
    assert store.um_per_px == pytest.approx(11)


def test_area_weights_are_fractional() -> None:
    image = np.zeros((400, 400, 3), dtype=np.uint8)
    image[:, 200:] = 240
    store = cut_patches(make_raw(image, np.array([[200.0, 200.0]]), diameter=336), "1d")
    assert store.array[0, 0, 110:114, 0].tolist() == [0, 0, 240, 240]
    shifted = cut_patches(make_raw(image, np.array([[201.0, 200.0]]), diameter=336), "1d")
    # New pixel 111 covers old 166.5 to 168; the border is at 167, so two thirds of it are 240.
    assert shifted.array[0, 0, 110:113, 0].tolist() == [0, 160, 240]


def test_centres_outside() -> None:
    far = np.vstack([CENTRES, [[500.0, 50.0]]])
    with pytest.raises(InputError, match=r"20\.0% of the spot centres lie outside"):
        cut_patches(make_raw(dotted(), far), "1d")


def test_no_image() -> None:
    with pytest.raises(InputError, match="slide S: has no image"):
        cut_patches(make_raw(None), "1d")


def test_saved_patches_come_back_mapped(tmp_path: Path) -> None:
    store = cut_patches(make_raw(dotted()), "1d")
    path = tmp_path / "S.1d.patches"
    store.save(path)
    store.save(path)
    loaded = PatchStore.load(path)
    assert isinstance(loaded.array, np.memmap)
    assert np.array_equal(loaded.array, store.array)
    assert (loaded.names, loaded.um_per_px, loaded.window, loaded.image_digest) == (
        store.names,
        store.um_per_px,
        "1d",
        store.image_digest,
    )
    assert [file.name for file in tmp_path.iterdir()] == ["S.1d.patches"]


def test_digest_is_of_the_pixels() -> None:
    image = dotted()
    first = cut_patches(make_raw(image), "1d").image_digest
    assert cut_patches(make_raw(image.copy()), "2d").image_digest == first
    image[0, 0, 0] = 1
    assert cut_patches(make_raw(image), "1d").image_digest != first


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "S.1d.patches"
    with pytest.raises(ContractError, match="run ingestion again"):
        PatchStore.load(path)
    cut_patches(make_raw(dotted()), "1d").save(path)
    whole = (path / "patches.npy").read_bytes()
    (path / "patches.npy").write_bytes(whole[:200])
    with pytest.raises(ContractError, match="no whole set of patches"):
        PatchStore.load(path)
    (path / "patches.npy").write_bytes(whole)
    card = (path / "card.json").read_text()
    (path / "card.json").write_text(card.replace('"s0",', ""))
    with pytest.raises(ContractError, match="for 3 spots"):
        PatchStore.load(path)
    (path / "card.json").write_text(card.replace('"version": 1', '"version": 9'))
    with pytest.raises(ContractError, match="patches of version 9"):
        PatchStore.load(path)


def test_ingestion_row() -> None:
    raw = make_raw(dotted())
    row = ingestion_row(raw, cut_patches(raw, "5d"))
    assert row == {
        "cohort": "C",
        "slide": "S",
        "subject": "P",
        "spots": 4,
        "genes": 2,
        "median_counts": 7.0,
        "image": "yes",
        "image_side_px": 180,
        "patch_side_px": 50,
        "um_per_patch_px": 5.5,
        "patches_outside": 0.25,
        "source_digest": "d",
    }
    without = ingestion_row(make_raw(None), None)
    assert without["image"] == "no: completion only"
    assert np.isnan(without["patches_outside"])
