"""Intervals hold what they are meant to hold, whatever the shape and scale of errors."""

from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.completion.belief import NOMINAL
from spared_benchmark.completion.conformal import ErrorShape

GENES = 4


def skewed(seed, each, genes=GENES):
    """Return errors of mean 0 whose skewness and width differ from gene to gene, and the genes."""
    generator = np.random.default_rng(seed)
    gene = np.tile(np.arange(genes), each)
    form = np.array([0.2, 0.5, 0.8, 1.1])[gene]
    drawn = np.exp(form * generator.normal(size=gene.size)) - np.exp(form**2 / 2)
    deviation = np.sqrt(np.expm1(form**2)) * np.exp(form**2 / 2)
    width = np.array([0.7, -0.9, 1.1, -1.3])[gene]  # of the model's; negative: skewed to the left
    return width * drawn / deviation, gene


def held(shape, errors, gene, scale=1.0):
    return (errors >= scale * shape.lower[gene]) & (errors <= scale * shape.upper[gene])


@pytest.mark.parametrize("seed", range(5))
def test_fresh_errors_of_every_gene_are_held(seed):
    shape = ErrorShape.of(*skewed(seed, 8000), GENES)
    errors, gene = skewed(seed + 100, 20000)
    inside = held(shape, errors, gene)
    assert 0.88 < inside.mean() < 0.92
    for number in range(GENES):
        own = inside[gene == number]
        assert 0.88 < own.mean() < 0.92
        # Half of what is missed lies at each end.
        below = errors[gene == number] < shape.lower[number]
        assert 0.035 < below.mean() < 0.065


def test_the_spread_is_the_root_mean_square():
    errors, gene = skewed(0, 50000)
    shape = ErrorShape.of(errors, gene, GENES)
    expected = [np.sqrt(np.square(errors[gene == number]).mean()) for number in range(GENES)]
    np.testing.assert_allclose(shape.spread, expected, rtol=0.02)


def test_a_gene_of_few_errors_has_the_quantiles_of_all():
    generator = np.random.default_rng(0)
    errors = np.concatenate([generator.normal(size=5000), [30.0, -30.0]])
    gene = np.concatenate([np.repeat([0, 1], 2500), [2, 2]])
    shape = ErrorShape.of(errors, gene, 4)
    pooled = np.quantile(errors, [0.05, 0.95])
    np.testing.assert_allclose([shape.lower[3], shape.upper[3]], pooled)  # it has none at all
    assert shape.lower[2] == pytest.approx((2 * -30 + 100 * pooled[0]) / 102)
    assert shape.upper[2] == pytest.approx((2 * -30 + 100 * pooled[1]) / 102)


def test_without_errors_they_are_those_of_a_normal_distribution():
    nothing = np.empty(0), np.empty(0, dtype=np.intp)
    shape = ErrorShape.of(*nothing, GENES)
    drawn = np.random.default_rng(0).normal(size=(20000, GENES))
    assert held(shape, drawn.T.ravel(), np.repeat(np.arange(GENES), 20000)).mean() == pytest.approx(
        NOMINAL, abs=0.005
    )
    assert (shape.spread == 1).all()
    assert shape.scale(*nothing) == 1.0


def test_a_scale_from_few_errors_is_near_1():
    shape = ErrorShape.of(*skewed(0, 2000), GENES)
    errors, gene = skewed(1, 2)
    assert abs(shape.scale(errors / 100, gene) - 1) < 0.1
    assert abs(shape.scale(errors * 2, gene) - 1) < 0.3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_scale_makes_up_for_errors_of_another_size(seed, factor):
    shape = ErrorShape.of(*skewed(seed, 4000), GENES)
    errors, gene = skewed(seed + 100, 2000)
    scale = shape.scale(factor * errors, gene)
    assert scale == pytest.approx(factor, rel=0.08)
    fresh, gene = skewed(seed + 200, 5000)
    assert 0.88 < held(shape, factor * fresh, gene, scale).mean() < 0.92
    if factor == 2:
        assert held(shape, factor * fresh, gene).mean() < 0.8


def test_errors_on_one_side_still_give_an_interval_around_the_value():
    errors, gene = np.abs(np.random.default_rng(0).normal(size=1000)) + 1, np.zeros(1000, np.intp)
    shape = ErrorShape.of(errors, gene, 1)
    assert shape.lower[0] < 0 < shape.upper[0]
    assert np.isfinite(shape.scale(-errors, gene))


def test_the_order_of_errors_does_not_matter():
    errors, gene = skewed(0, 300)
    order = np.random.default_rng(1).permutation(errors.size)
    one, other = (ErrorShape.of(errors[o], gene[o], GENES) for o in (slice(None), order))
    for name, array in one.state("").items():
        np.testing.assert_allclose(array, other.state("")[name])


def test_what_is_loaded_is_what_was_learnt():
    shape = ErrorShape.of(*skewed(0, 300), GENES)
    loaded = ErrorShape.loaded({**shape.state("shown."), "other": np.ones(1)}, "shown.")
    assert all((loaded.state("")[name] == array).all() for name, array in shape.state("").items())
