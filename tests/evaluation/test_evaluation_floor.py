from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.errors import InputError
from spared_benchmark.evaluation.floor import (
    ceiling_correlation,
    one_count,
    poisson_floor,
    poisson_noise,
    thinned_noise,
    truncated_variance,
)

# Var(log2 C | C >= 1) of a Poisson count, by its mean.
PUBLISHED = {0.05: 0.025, 0.5: 0.228, 1: 0.407, 2: 0.615, 3: 0.660, 5: 0.533, 10: 0.250, 100: 0.021}


@pytest.mark.parametrize("mean", PUBLISHED)
def test_the_truncated_variance_of_a_deep_library(mean):
    assert truncated_variance(mean, 1e-6) == pytest.approx(PUBLISHED[mean], abs=0.0015)


def test_the_truncated_variance_equals_sampling():
    counts = np.random.default_rng(0).poisson(2.5, 400_000)
    values = np.log2(1 + counts[counts > 0] / 0.4)
    assert truncated_variance(2.5, 0.4) == pytest.approx(values.var(), rel=0.01)


def test_one_count_is_worth_its_share_of_a_million():
    assert one_count([2.0, 4.0], [10.0]).tolist() == [[50_000.0, 25_000.0]]


def simulated(mean, seed, spots=1500):
    """Counts of one gene with log-normal rates and depths, and the true noise."""
    generator = np.random.default_rng(seed)
    depth = np.exp(generator.normal(0, 0.5, spots))
    rate = mean * np.exp(generator.normal(0, 0.3, spots))
    counts = generator.poisson(rate * depth)
    # L S / 1e6 is the exposure; S is chosen so that it equals the depth.
    length, denominator = 1e6 / 1e4, depth * 1e4
    truth = truncated_variance(rate * depth / 1.0, depth)
    return counts[:, None], [length], denominator, truth[counts > 0].mean()


@pytest.mark.parametrize("mean", [0.5, 3.0, 10.0])
def test_simulated_noise_is_found_again(mean):
    counts, length, denominator, truth = simulated(mean, seed=1)
    table = poisson_floor(counts, length, denominator, counts > 0, np.zeros(len(counts)))
    pooled = table[table["slide"] == ""]
    assert float(pooled["value"].iloc[0]) == pytest.approx(truth, rel=0.12)
    assert int(pooled["n"].iloc[0]) == (counts > 0).sum()


def test_large_counts_follow_the_delta_rule():
    counts = np.full((30, 1), 2000)
    noise = poisson_noise(counts, [1.0], np.full(30, 1e6), np.zeros(30))
    np.testing.assert_allclose(noise, 1 / (2000 * np.log(2) ** 2), rtol=0.05)


def dominant(seed=3, spots=1500):
    """A gene that makes up half of each spot, with its lengths, denominators and true noise."""
    generator = np.random.default_rng(seed)
    others = generator.uniform(20.0, 60.0, spots)
    rate = others * np.exp(generator.normal(0, 0.2, spots))
    counts = generator.poisson(rate)
    noise = truncated_variance(rate, others / 1e6, own=1e-6)
    return counts, others + counts, noise, (others, rate)


def test_a_gene_with_half_of_the_molecules_has_little_noise():
    counts, denominator, truth, (others, _) = dominant()
    found = poisson_noise(counts[:, None], [1.0], denominator, np.zeros(counts.size))
    assert found.mean() == pytest.approx(truth.mean(), rel=0.1)
    # Were the denominator no matter of the gene's own count, twice the noise would be told.
    assert truncated_variance(40.0, 40.0 / 1e6).item() > 3 * truth.mean()
    assert (others > 0).all()


def test_the_noise_of_half_the_molecules_is_that_of_half_the_rate():
    generator = np.random.default_rng(4)
    depth = np.exp(generator.normal(0, 0.4, 2000))
    rate = 3 * np.exp(generator.normal(0, 0.3, 2000)) * depth
    counts = generator.poisson(rate)
    exposure = depth / 100
    half = generator.binomial(counts, 0.5)
    scored = (half == 0) & (counts > 0)
    full, thinned = thinned_noise(
        counts[:, None], [1.0], exposure * 1e6, np.zeros(2000), (1.0, 0.5)
    )[:, :, 0]
    assert np.array_equal(
        full, poisson_noise(counts[:, None], [1.0], exposure * 1e6, np.zeros(2000))[:, 0]
    )
    true_half = truncated_variance(rate / 2, exposure / 2)
    assert thinned[scored].mean() == pytest.approx(true_half[scored].mean(), rel=0.08)
    assert abs(thinned[scored].mean() - full[scored].mean()) > 0.05


def test_each_slide_has_its_own_mixture():
    generator = np.random.default_rng(2)
    counts = generator.poisson(3.0, (60, 2))
    lengths, denominator = [100.0, 200.0], np.full(60, 1e4)
    slide = np.repeat(["a", "b"], 30)
    before = poisson_noise(counts, lengths, denominator, slide)
    counts[30:] *= 10
    after = poisson_noise(counts, lengths, denominator, slide)
    assert np.array_equal(before[:30], after[:30])
    assert not np.allclose(before[30:], after[30:])


def test_the_ceiling_of_hand_computed_noise():
    truth = np.array([[1.0, 1.0], [3.0, 3.0], [5.0, 9.0]])  # second gene: two entries, variance 1
    scored = np.array([[True, True], [True, True], [True, False]])
    noise = np.array([[0.5, 2.0], [0.5, 2.0], [1.0, 2.0]])
    table = ceiling_correlation(truth, noise, scored, ["s"] * 3)
    first = np.sqrt(1 - (2 / 3) / (8 / 3))  # variance 8/3, mean noise 2/3
    assert float(table["value"].iloc[0]) == pytest.approx((first + 0) / 2)
    assert int(table["n"].iloc[0]) == 2


def test_values_that_are_no_counts_have_no_noise_and_bad_ones_are_refused():
    counts = np.full((4, 1), 1.5)
    assert np.isnan(poisson_noise(counts, [1.0], np.ones(4), np.zeros(4))).all()
    with pytest.raises(InputError, match="4 negative counts"):
        poisson_noise(-counts, [1.0], np.ones(4), np.zeros(4))
    with pytest.raises(InputError, match="4 entries without exposure"):
        poisson_noise(counts, [0.0], np.ones(4), np.zeros(4))
