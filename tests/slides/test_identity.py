"""Copies are known for what they are; two sections of one block are not taken for one."""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import sparse
from scipy.ndimage import gaussian_filter

from spared_benchmark.simulation import SimulatedSlide
from spared_benchmark.slides.identity import (
    SAME_IMAGE,
    counts_digest,
    identify,
    image_digest,
    image_distances,
    image_hash,
)
from spared_benchmark.slides.raw import RawSlide

Picture = NDArray[np.uint8]


def draw_counts(seed: int, n_spots: int = 30, n_genes: int = 20) -> sparse.csr_matrix:
    counts = np.random.default_rng(seed).poisson(0.7, size=(n_spots, n_genes))
    return sparse.csr_matrix(counts.astype(np.int32))


@given(st.integers(0, 1000), st.randoms(use_true_random=False))
def test_order_of_spots_and_genes_does_not_count(seed, random):
    counts = draw_counts(seed)
    rows = random.sample(range(counts.shape[0]), counts.shape[0])
    columns = random.sample(range(counts.shape[1]), counts.shape[1])

    assert counts_digest(counts[rows][:, columns]) == counts_digest(counts)


def test_empty_spots_and_unseen_genes_do_not_count():
    counts = draw_counts(0)
    larger = sparse.block_diag([counts, sparse.csr_matrix((3, 5), dtype=np.int32)], format="csr")

    assert counts_digest(larger) == counts_digest(counts)


def test_one_molecule_counts():
    counts = draw_counts(0).toarray()
    changed = counts.copy()
    changed[0, 0] += 1
    moved = changed.copy()
    moved[1, 1] += 1
    swapped = changed.copy()
    swapped[0, 1] += 1

    digests = {counts_digest(sparse.csr_matrix(one)) for one in (counts, changed, moved, swapped)}

    assert len(digests) == 4


def test_spots_are_not_taken_for_genes():
    assert counts_digest(draw_counts(0)) != counts_digest(draw_counts(0).T.tocsr())


def as_jpeg(picture: Picture, quality: int = 60) -> Picture:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def scaled(picture: Picture, factor: float) -> Picture:
    height, width = picture.shape[:2]
    size = (round(width * factor), round(height * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def brighter(picture: Picture, factor: float) -> Picture:
    return (picture * factor).clip(0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "the same": lambda picture: picture,
    "JPEG of half the size": lambda picture: as_jpeg(scaled(picture, 0.5)),
    "a fifth of the size": lambda picture: scaled(picture, 0.21),
    "twice the size": lambda picture: scaled(picture, 2),
    "10 % brighter": lambda picture: brighter(picture, 1.1),
    "10 % darker, JPEG": lambda picture: as_jpeg(brighter(picture, 0.9)),
    "turned by 90°": lambda picture: np.rot90(picture).copy(),
    "turned by 180°, JPEG": lambda picture: as_jpeg(np.rot90(picture, 2).copy()),
    "mirrored": lambda picture: picture[:, ::-1].copy(),
    "upside down, half the size": lambda picture: scaled(picture[::-1].copy(), 0.5),
    "transposed": lambda picture: picture.transpose(1, 0, 2).copy(),
}


def distance(one: Picture, other: Picture) -> float:
    return float(image_distances([image_hash(one), image_hash(other)])[0, 1])


@functools.cache
def tissue(seed: int, height: int = 240, width: int = 200) -> Picture:
    """Return blots of many sizes on white."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centre, radius = rng.random((80, 2)), rng.uniform(3, 30, 80)
    far = np.hypot(y[..., None] - centre[:, 0] * height, x[..., None] - centre[:, 1] * width)
    ink = (far < radius).sum(axis=2)
    colour = np.array([25.0, 45.0, 20.0])
    return (240 - ink[..., None] * colour).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("copy", COPIES)
def test_copies_look_the_same(copy):
    assert max(distance(tissue(seed), COPIES[copy](tissue(seed))) for seed in range(3)) <= 20


def test_unrelated_images_look_different():
    hashes = [image_hash(tissue(seed)) for seed in range(12)]
    apart = image_distances(hashes)[np.triu_indices(12, 1)]

    assert apart.min() > SAME_IMAGE


@functools.cache
def disc(radius: int, texture: float, seed: int = 0, side: int = 800) -> Picture:
    """Return a round section; ``texture`` is its standard deviation in grey levels."""
    grain = gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), 15)
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    picture = np.full((side, side, 3), 240.0)
    inside = np.hypot(x, y) < radius
    picture[inside] = [190, 120, 170] + texture * (grain / grain.std())[inside, None]
    return picture.astype(np.uint8)


@pytest.mark.parametrize("radius", [200, 300, 380])
def test_round_sections_are_told_apart_by_what_is_in_them(radius):
    for other in (radius, radius + 5):
        assert distance(disc(radius, 2, seed=1), disc(other, 2, seed=2)) > SAME_IMAGE + 10


def test_empty_outlines_are_what_it_cannot_tell_apart():
    assert distance(disc(300, 0), disc(305, 0)) <= SAME_IMAGE


def test_distances_are_symmetric_zero_to_oneself_and_nan_without_image():
    hashes = [image_hash(tissue(0)), "", image_hash(tissue(1))]

    distances = image_distances(hashes)

    assert np.isnan(distances[1]).all()
    assert np.isnan(distances[:, 1]).all()
    assert distances[0, 0] == distances[2, 2] == 0
    assert distances[0, 2] == distances[2, 0]
    assert image_distances([]).shape == (0, 0)


def test_brightness_and_contrast_have_no_part():
    picture = tissue(3)
    assert distance(picture, (picture * 0.5 + 40).astype(np.uint8)) <= 4


def test_a_slide_is_identified(visium_slide: SimulatedSlide):
    raw = visium_slide.raw

    found = identify(raw)

    assert list(found) == ["source_digest", "counts_digest", "image_digest", "image_hash"]
    assert found["counts_digest"] == counts_digest(raw.adata.X)
    assert found["image_digest"] == image_digest(raw.image)
    assert len(found["image_hash"]) == 64
    without = identify(RawSlide(raw.adata, None))
    assert without == found | {"image_digest": "", "image_hash": ""}


def open_small(path: Path) -> Picture:
    """Return an image at most 800 px wide and high; a JPEG is unpacked at that size, quickly."""
    image = Image.open(path)
    image.draft("RGB", (800, 800))
    image.thumbnail((800, 800), Image.Resampling.BOX)
    return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def sections(real_data: Path) -> dict[str, Picture]:
    files = [*real_data.glob("*/*/spatial/tissue_hires_image.png"), *real_data.glob("*/*/*.jpg")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        return {path.relative_to(real_data).as_posix(): open_small(path) for path in sorted(files)}


@pytest.mark.real
def test_neighbouring_sections_are_not_taken_for_one(sections: dict[str, Picture]):
    assert len(sections) >= 17
    distances = image_distances([image_hash(picture) for picture in sections.values()])

    near = {
        pair: distances[pair]
        for pair in itertools.combinations(range(len(sections)), 2)
        if distances[pair] <= SAME_IMAGE + 20
    }

    assert near == {}


@pytest.mark.real
def test_copies_of_real_sections_look_the_same(sections: dict[str, Picture]):
    hashes = [image_hash(picture) for picture in sections.values()]
    for name, copy in COPIES.items():
        copies = [image_hash(copy(picture)) for picture in sections.values()]
        apart = np.diag(image_distances([*hashes, *copies])[: len(hashes), len(hashes) :])
        assert apart.max() <= SAME_IMAGE - 10, name
