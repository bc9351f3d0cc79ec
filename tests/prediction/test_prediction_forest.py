"""Our traversal of the trees against scikit-learn's own prediction."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestRegressor

from spared_benchmark.prediction.forest import Forests, Growth, grow

GROWTH = Growth(trees=7, leaf=3, share=0.5, seed=11)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(120, 6)).astype(np.float32)
    y = np.stack([np.sin(2 * inputs[:, 0]), inputs[:, 1] > 0, inputs[:, 2]], axis=1)
    return inputs, (y + rng.normal(0, 0.1, y.shape)).astype(np.float32), rng.random(y.shape) > 0.3


def reference(inputs, y):
    forest = RandomForestRegressor(7, min_samples_leaf=3, max_features=0.5, random_state=11)
    return forest.fit(inputs, y)


def test_one_forest_for_all_genes_equals_scikit_learn(data):
    inputs, y, weight = data
    forests = grow(inputs, y, np.ones_like(weight), GROWTH)
    assert forests.roots.shape == (1, 7)
    asked = np.concatenate([inputs, np.random.default_rng(1).normal(size=(500, 6))])
    asked = asked.astype(np.float32)
    predicted = forests.predict(torch.from_numpy(asked))
    np.testing.assert_allclose(predicted, reference(inputs, y).predict(asked), rtol=1e-5, atol=1e-6)


def test_a_forest_for_each_gene_on_its_own_spots_equals_scikit_learn(data):
    inputs, y, weight = data
    changed = np.where(weight, y, np.float32(np.nan))
    predicted = grow(inputs, changed, weight, GROWTH).predict(torch.from_numpy(inputs))
    for gene in range(3):
        rows = weight[:, gene]
        expected = reference(inputs[rows], y[rows, gene]).predict(inputs)
        np.testing.assert_allclose(predicted[:, gene], expected, rtol=1e-5, atol=1e-6)


def test_a_value_at_the_threshold_goes_to_the_first_child():
    # Two spots, one split half-way: 1.5 itself belongs to the left.
    inputs = np.array([[1.0], [2.0]], dtype=np.float32)
    y, weight = np.array([[0.0], [10.0]], dtype=np.float32), np.ones((2, 1), dtype=bool)
    for seed in range(9):
        forests = grow(inputs, y, weight, Growth(trees=1, leaf=1, share=1.0, seed=seed))
        if len(forests.split) == 3:  # the bootstrap drew both
            asked = torch.tensor([[1.0], [1.5], [1.5000001], [9.0]])
            assert forests.predict(asked).flatten().tolist() == [0, 0, 10, 10]
            return
    pytest.fail("no bootstrap drew both spots")


def test_a_gene_without_entries_takes_the_mean_of_all(data):
    inputs, y, weight = data
    weight[:, 1] = False
    predicted = grow(inputs, y, weight, GROWTH).predict(torch.from_numpy(inputs))
    np.testing.assert_allclose(predicted[:, 1], y[weight].mean(), rtol=1e-5)


def test_trees_are_plain_arrays_and_threads_change_nothing(data):
    inputs, y, weight = data
    first = grow(inputs, y, weight, GROWTH)
    assert all(type(array) is np.ndarray for array in first.state().values())
    assert not any(array.dtype.hasobject for array in first.state().values())
    again = Forests.from_state(first.state()).predict(torch.from_numpy(inputs))
    assert torch.equal(again, first.predict(torch.from_numpy(inputs)))
    threaded = grow(inputs, y, weight, Growth(7, 3, 0.5, 11, jobs=2))
    for name, array in first.state().items():
        np.testing.assert_array_equal(array, threaded.state()[name])
