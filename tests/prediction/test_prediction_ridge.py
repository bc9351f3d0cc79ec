"""The masked ridge against scikit-learn, gene by gene."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from spared_benchmark.prediction.ridge import moments, solve


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    inputs = rng.normal(1, 2, (60, 5))
    y = (inputs @ rng.normal(size=(5, 4)) + 3 + rng.normal(size=(60, 4))).astype(np.float32)
    return inputs, y, rng.random((60, 4)) > 0.3


@pytest.mark.parametrize("penalty", [1e-3, 0.5])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("block", [1, 10**9])
def test_equals_scikit_learn(data, penalty, masked, block, monkeypatch):
    monkeypatch.setattr("spared_benchmark.prediction.ridge._BLOCK_BYTES", block)
    inputs, y, weight = data
    if not masked:
        weight = np.ones_like(weight)
    slope, intercept = solve(moments(inputs, y, weight), penalty)
    for gene in range(4):
        rows = weight[:, gene]
        reference = Ridge(alpha=penalty * rows.sum()).fit(inputs[rows], y[rows, gene])
        np.testing.assert_allclose(slope[:, gene], reference.coef_, rtol=1e-5)
        np.testing.assert_allclose(intercept[gene], reference.intercept_, rtol=1e-5)


def test_entries_that_do_not_count_change_nothing(data):
    inputs, y, weight = data
    changed = np.where(weight, y, np.float32(1e6))
    first = solve(moments(inputs, y, weight), 0.1)
    second = solve(moments(inputs, changed, weight), 0.1)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_gene_without_entries_takes_the_mean_of_all(data):
    inputs, y, weight = data
    weight[:, 2] = False
    slope, intercept = solve(moments(inputs, y, weight), 0.1)
    np.testing.assert_array_equal(slope[:, 2], 0)
    np.testing.assert_allclose(intercept[2], y[weight].mean(), rtol=1e-5)
