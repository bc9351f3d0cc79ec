"""The masked ridge against scikit-learn, gene by gene, in both of its forms."""

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from spared_benchmark.prediction.ridge import solve

PENALTIES = (1e-3, 0.5)
WIDE = 90  # more inputs than spots: the dual form


def made(width):
    rng = np.random.default_rng(0)
    inputs = rng.normal(0.3, 2, (60, width))
    y = (inputs @ rng.normal(size=(width, 4)) + 3 + rng.normal(size=(60, 4))).astype(np.float32)
    # Genes of which most and of which few entries count, and two that share a mask.
    weight = rng.random((60, 4)) > [0.2, 0.7, 0.3, 0.3]
    weight[:, 3] = weight[:, 2]
    return inputs, y, weight


@pytest.fixture(params=[5, WIDE])
def data(request):
    return made(request.param)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("block", [7, 4096])
def test_equals_scikit_learn(data, masked, block, monkeypatch):
    monkeypatch.setattr("spared_benchmark.prediction.ridge._BLOCK", block)
    inputs, y, weight = data
    if not masked:
        weight = np.ones_like(weight)
    found = solve(inputs, y, weight, PENALTIES)
    for place, penalty in enumerate(PENALTIES):
        for gene in range(4):
            rows = weight[:, gene]
            reference = Ridge(alpha=penalty * rows.sum()).fit(inputs[rows], y[rows, gene])
            slope, intercept = found.coefficients[place, :, gene], found.intercepts[place, gene]
            np.testing.assert_allclose(slope, reference.coef_, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(intercept, reference.intercept_, rtol=1e-5)


def test_entries_that_do_not_count_change_nothing(data):
    inputs, y, weight = data
    changed = np.where(weight, y, np.float32(np.nan))
    first, second = (solve(inputs, values, weight, PENALTIES) for values in (y, changed))
    np.testing.assert_array_equal(first.coefficients, second.coefficients)
    np.testing.assert_array_equal(first.intercepts, second.intercepts)


def test_a_gene_without_entries_takes_the_mean_of_all(data):
    inputs, y, weight = data
    weight[:, 2] = False
    found = solve(inputs, y, weight, PENALTIES)
    np.testing.assert_array_equal(found.coefficients[:, :, 2], 0)
    np.testing.assert_allclose(found.intercepts[:, 2], y[weight].mean(), rtol=1e-5)


def test_inputs_that_do_not_vary_get_no_slope(data):
    inputs, y, weight = data
    inputs[:, 1] = 0
    found = solve(inputs, y, weight, PENALTIES)
    np.testing.assert_allclose(found.coefficients[:, 1], 0, atol=1e-12)


@pytest.mark.parametrize("spots", [250, 600])
def test_memory_does_not_grow_with_the_genes(spots):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(spots, 400))
    y, weight = rng.normal(size=(spots, 40)).astype(np.float32), rng.random((spots, 40)) > 0.3
    solve(inputs, y, weight, (1.0,))
    tracemalloc.start()
    solve(inputs, y, weight, (1.0,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    side = min(inputs.shape)
    # Four matrices and as much again for targets and results; a matrix for each gene were forty.
    assert peak < 8 * 8 * side**2 + 8 * inputs.size
