"""Standardised inputs and their principal components."""

import numpy as np

from spared_benchmark.prediction.standard import Standard, principal_axes


def test_mean_0_and_deviation_1_and_nothing_of_what_does_not_vary():
    rng = np.random.default_rng(0)
    inputs = rng.normal(5, 3, (50, 4)).astype(np.float32)
    inputs[:, 2] = 0.1
    standard = Standard.of(inputs)
    values = standard(inputs)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(values.std(axis=0), [1, 1, 0, 1])
    again = Standard.from_state(standard.state())
    np.testing.assert_array_equal(again(inputs), values)
    # Nor does it say anything where it happens to be another value later.
    np.testing.assert_array_equal(standard(inputs + 1)[:, 2], 0)


def test_axes_are_those_of_the_largest_variance():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(400, 1))
    inputs = np.hstack([shared + 0.01 * rng.normal(size=(400, 1)) for _ in range(3)])
    inputs = np.hstack([inputs, rng.normal(size=(400, 2))])
    axes = principal_axes(Standard.of(inputs)(inputs), 3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(axes[:3, 0], 1 / np.sqrt(3), atol=0.01)


def test_no_axes_along_which_nothing_varies():
    inputs = np.random.default_rng(0).normal(size=(4, 10))
    assert principal_axes(Standard.of(inputs)(inputs), 8).shape == (10, 3)
    assert principal_axes(np.zeros((4, 10)), 8).shape == (10, 1)
    np.testing.assert_array_equal(principal_axes(inputs, 0), np.eye(10))
