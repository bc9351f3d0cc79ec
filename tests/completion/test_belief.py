"""A belief as a distribution: its interval holds what it is meant to hold."""

from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.completion.belief import NOMINAL, Belief


def test_ends_of_the_interval_are_its_quantiles():
    value = np.array([[2.0, 5.0]], dtype=np.float32)
    belief = Belief(value, np.ones_like(value), value - 1, value + 3)
    entries = np.ones((1, 2), dtype=bool)
    tail = (1 - NOMINAL) / 2
    assert belief.probability(value[0] - 1, entries) == pytest.approx([tail, tail])
    assert belief.probability(value[0], entries) == pytest.approx([0.5, 0.5])
    assert belief.probability(value[0] + 3, entries) == pytest.approx([1 - tail, 1 - tail])
    places = np.linspace(-3, 12, 50)
    each = [belief.probability(np.array([at, at]), entries)[0] for at in places]
    assert (np.diff(each) >= 0).all()
    assert each[0] < 1e-3
    assert each[-1] > 1 - 1e-3


def test_layers_carry_the_name():
    one = np.zeros((1, 1), dtype=np.float32)
    layers = Belief(one, one + 1, one - 1, one + 2).layers("ours")
    assert list(layers) == ["ours", "ours_sd", "ours_lower", "ours_upper"]
    assert [layer.item() for layer in layers.values()] == [0, 1, -1, 2]
