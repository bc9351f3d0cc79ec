"""Sections of a slide: equal blocks of columns and rows, none too small, seen with a halo."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prediction_samples import cohort

from spared_benchmark.errors import ConfigurationError, ContractError
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.sampling import batches, draw
from spared_benchmark.prediction.tiles import tiles_of
from spared_benchmark.prediction.types import Sampling


def grid(rows, columns):
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.column_stack([column, row]).astype(np.float32)


def test_a_square_of_spots_falls_into_quarters():
    section = tiles_of(grid(6, 6), 2).reshape(6, 6)
    expected = np.kron([[0, 1], [2, 3]], np.ones((3, 3), int))
    np.testing.assert_array_equal(section, expected)
    assert set(tiles_of(grid(6, 6), 1)) == {0}


def test_a_small_section_joins_the_nearest():
    far = np.array([[50.0, 0.0], [51.0, 0.0]], dtype=np.float32)
    places = np.concatenate([grid(4, 8), far])
    section = tiles_of(places, 3)
    assert np.bincount(section).min() >= 5
    assert section[-1] == section[-2] == section[7]


@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 10))
def test_every_spot_has_a_section_whatever_the_shape(n, side, seed):
    places = np.random.default_rng(seed).integers(0, 12, (n, 2)).astype(np.float32)
    section = tiles_of(places, side)
    sizes = np.bincount(section)
    assert len(section) == n
    assert sizes.min() >= min(5, n)
    assert len(sizes) <= side * side


@pytest.fixture(scope="module")
def slides():
    return cohort(rows=8, columns=8).of("train")


def test_a_halo_is_seen_and_not_predicted(slides):
    bare = Resident.of(slides, Sampling(kind="slide", tiles=2))
    with_halo = Resident.of(slides, Sampling(kind="slide", tiles=2, halo=2))
    assert bare.n_tiles == with_halo.n_tiles == 8
    for core, batch in zip(batches(bare, 1), batches(with_halo, 1), strict=True):
        assert core.query.all()
        assert torch.equal(batch.spot[batch.query], core.spot)
        around = core.spot
        for _ in range(2):
            reached = with_halo.neighbours[around].long()
            around = torch.unique(torch.cat([around, reached[reached >= 0]]))
        assert torch.equal(batch.spot, around)
        assert len(batch.slide.unique()) == 1


def test_a_region_is_a_patch_of_tissue(slides):
    resident = Resident.of(slides, Sampling(kind="slide", region=12))
    (batch,) = draw(resident, 1, torch.Generator().manual_seed(3))
    assert len(batch.spot) == 12
    assert batch.query.all()
    assert len(batch.slide.unique()) == 1
    # Each spot of it has a neighbour in it.
    assert (batch.lattice() >= 0).any(dim=1).all()


def test_a_section_is_not_divided(slides):
    resident = Resident.of(slides, Sampling(kind="slide"))
    with pytest.raises(ContractError, match="cannot be divided"):
        next(draw(resident, 1, torch.Generator(), parts=2))


def test_spots_are_divided_without_loss(slides):
    resident = Resident.of(slides, Sampling(image_size=20, augment="each"))
    (whole,) = draw(resident, 30, torch.Generator().manual_seed(0))
    parts = list(draw(resident, 30, torch.Generator().manual_seed(0), parts=4))
    assert [len(part.spot) for part in parts] == [8, 8, 7, 7]
    assert torch.equal(torch.cat([part.spot for part in parts]), whole.spot)
    assert torch.equal(torch.cat([part.pixels for part in parts]), whole.pixels)


@pytest.mark.parametrize(
    "wrong", [{"kind": "spots", "tiles": 2}, {"kind": "slide", "hops": 1}, {"hops": -1}]
)
def test_sampling_that_makes_no_sense(wrong):
    with pytest.raises(ConfigurationError, match="hops belong to 'ego'"):
        Sampling(**wrong)
