"""Products with the covariance of a lattice, and what neighbours tell by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag

from spared_benchmark.completion.kriging import LatticeCovariance, krige, posterior_mean
from spared_benchmark.completion.lattice_kernel import UNITS
from spared_benchmark.completion.visible import Visible

CPU = torch.device("cpu")
SHARE = 0.8


def holed(lattice, side=9, seed=0):
    """Return a slide of which a third of the sites is empty, far from row and column 0."""
    row, col = (axis.ravel() for axis in np.mgrid[:side, :side])
    if lattice != "square":
        col = 2 * col + row % 2
    kept = np.random.default_rng(seed).random(row.size) < 2 / 3
    row, col = row[kept] + 5, col[kept] + 40
    return Visible(
        values=np.ones((row.size, 1), np.float32),
        visible=np.ones((row.size, 1), bool),
        slide=np.zeros(row.size, np.int32),
        array_row=row.astype(np.int32),
        array_col=col.astype(np.int32),
        lattice=lattice,
        library_size=np.ones(row.size, np.float32),
        genes=("g",),
    )


def pairs(slide, length):
    places = np.stack([slide.array_row, slide.array_col], axis=1) * np.array(UNITS[slide.lattice])
    return np.exp(-np.linalg.norm(places[:, None] - places[None], axis=2) / length)


@pytest.fixture
def slide():
    return holed("hexagonal", side=6)


@pytest.fixture
def times(slide):
    return LatticeCovariance(slide, 3.0, CPU).times


@pytest.mark.parametrize("lattice", list(UNITS))
@pytest.mark.parametrize("dense_spots", [0, 1000])
def test_products_are_those_with_the_matrix_of_pairs(lattice, dense_spots):
    slide = holed(lattice)
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(slide.n_spots, 3)))
    covariance = LatticeCovariance(slide, 2.5, CPU, dense_spots)
    expected = pairs(slide, 2.5) @ values.numpy()
    np.testing.assert_allclose(covariance.times(values).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("dense_spots", [0, 1000])
def test_a_single_spot_is_correlated_with_itself(slide, dense_spots):
    alone = LatticeCovariance(slide.rows(np.array([3])), 2.0, CPU, dense_spots)
    value = torch.tensor([[1.5, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(alone.times(value), value)


def evidence(n_spots, rank=2, seed=1):
    """Return random positive-definite precisions and informations, both 0 at every third spot."""
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(n_spots, rank, rank))
    precision = root @ root.transpose(0, 2, 1)
    information = generator.normal(size=(n_spots, rank))
    precision[::3], information[::3] = 0, 0
    return torch.from_numpy(precision), torch.from_numpy(information)


@pytest.mark.parametrize(
    ("told", "atol"), [({"tolerance": 1e-10, "rounds": 500}, 1e-7), ({}, 0.05)]
)
def test_the_posterior_mean_solves_the_dense_system(slide, times, told, atol):
    precision, information = evidence(slide.n_spots)
    share = torch.tensor([0.9, 0.2], dtype=torch.float64)
    found = posterior_mean(times, share, precision, information, **told)
    prior = np.kron(pairs(slide, 3.0), np.diag(share.numpy()))  # spot by spot, then factor
    system = block_diag(*precision.numpy()) + np.linalg.inv(prior)
    expected = np.linalg.solve(system, information.numpy().ravel()).reshape(-1, 2)
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(found.numpy(), expected, atol=atol)


def test_without_evidence_the_posterior_mean_is_0(slide, times):
    precision, information = (torch.zeros_like(part) for part in evidence(slide.n_spots))
    found = posterior_mean(times, torch.ones(2, dtype=torch.float64), precision, information)
    assert not found.any()


def told_of(slide, seed=2):
    generator = np.random.default_rng(seed)
    values = generator.normal(4, 1, slide.n_spots)
    known = generator.random(slide.n_spots) < 0.6
    # What is not known must not be looked at.
    return torch.from_numpy(np.where(known, values, np.nan)), torch.from_numpy(known)


def test_kriging_keeps_what_is_known_and_gives_the_conditional_mean_elsewhere(slide, times):
    values, known = told_of(slide)
    found = krige(times, values, known, SHARE)
    assert torch.equal(found[known], values[known])
    shown, given = known.numpy(), values.numpy()
    covariance = SHARE * pairs(slide, 3.0)
    among = covariance[np.ix_(shown, shown)] + (1 - SHARE) * np.eye(shown.sum())
    mean = given[shown].mean()
    expected = mean + covariance[~shown][:, shown] @ np.linalg.solve(among, given[shown] - mean)
    assert np.ptp(expected) > 0.2
    np.testing.assert_allclose(found.numpy()[~shown], expected, atol=1e-2)


def test_kriging_from_nothing_gives_zeros(slide, times):
    unknown = torch.full((slide.n_spots,), torch.nan, dtype=torch.float64)
    found = krige(times, unknown, torch.zeros(slide.n_spots, dtype=torch.bool), SHARE)
    assert not found.any()


@pytest.mark.parametrize("dense_spots", [0, 1000])
def test_kriging_does_not_depend_on_the_order_of_spots(slide, dense_spots):
    values, known = told_of(slide)
    order = np.random.default_rng(3).permutation(slide.n_spots)
    whole = LatticeCovariance(slide, 3.0, CPU, dense_spots)
    shuffled = LatticeCovariance(slide.rows(order), 3.0, CPU, dense_spots)
    expected = krige(whole.times, values, known, SHARE)[order]
    found = krige(shuffled.times, values[order], known[order], SHARE)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)


def test_a_spot_far_from_all_others_gets_their_mean(slide):
    far = slide.rows(np.append(np.arange(slide.n_spots), 0))
    far.array_row[-1] += 400
    values, known = told_of(far)
    known[-1] = False
    found = krige(LatticeCovariance(far, 3.0, CPU).times, values, known, SHARE)
    assert float(found[-1]) == pytest.approx(float(values[known].mean()))
