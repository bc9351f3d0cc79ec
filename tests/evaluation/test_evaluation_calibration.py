"""Shares within intervals and transforms of counts, on draws whose distribution is known."""

import numpy as np
import pytest
from scipy.stats import kstest, norm, poisson

from spared_benchmark.errors import ContractError
from spared_benchmark.evaluation.calibration import (
    coverage,
    coverage_by_decile,
    distance_from_uniform,
    randomised_pit,
)

HALF = norm.ppf(0.95)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_ends_belong_to_an_interval():
    truth, lower, upper = np.array([[1.0, 2, 3, 4], [1, 0, 4, 0], [2, 2, 5, 3]])
    assert coverage(truth, lower, upper) == 0.5
    assert np.isnan(coverage(truth[:0], lower[:0], upper[:0]))


def test_ninety_per_cent_of_a_known_normal_and_not_of_a_narrower_one(rng):
    mean = rng.normal(size=20_000)
    truth = mean + 0.5 * rng.normal(size=mean.size)
    shares = [coverage(truth, mean - HALF * sd, mean + HALF * sd) for sd in (0.5, 0.3)]
    assert shares[0] == pytest.approx(0.9, abs=0.01)
    assert shares[1] == pytest.approx(2 * norm.cdf(HALF * 0.3 / 0.5) - 1, abs=0.01)


def test_tenths_tell_what_their_mean_hides(rng):
    value = rng.uniform(1, 2, 50_000)
    truth = value + rng.normal(size=value.size) * value  # the spread grows with the value
    one_width = np.quantile(np.abs(truth - value), 0.9)
    shares, counts = coverage_by_decile(value, truth, value - one_width, value + one_width)
    assert coverage(truth, value - one_width, value + one_width) == pytest.approx(0.9, abs=0.001)
    assert (counts == 5000).all()
    assert (np.diff(shares) < 0.01).all()
    assert shares[0] > 0.97
    assert shares[-1] < 0.83
    own = HALF * value
    right, _ = coverage_by_decile(value, truth, value - own, value + own)
    np.testing.assert_allclose(right, 0.9, atol=0.02)


def test_tenths_by_hand():
    value = np.arange(100)[::-1].astype(np.float32)
    truth = np.where(value < 10, value + 2, value)
    shares, counts = coverage_by_decile(value, truth, value - 1, value + 1)
    np.testing.assert_array_equal(shares, [0, *[1] * 9])
    np.testing.assert_array_equal(counts, 10)


def test_equal_values_stay_together_and_empty_tenths_are_not_told():
    value = np.repeat([1.0, 2.0], [75, 25])
    shares, counts = coverage_by_decile(value, value, value, value)
    assert sorted(counts[counts > 0]) == [25, 75]
    np.testing.assert_array_equal(np.isnan(shares), counts == 0)
    nothing, none = coverage_by_decile(*[np.empty(0)] * 4)
    assert np.isnan(nothing).all()
    assert none.sum() == 0


def test_the_transform_is_uniform_for_counts_of_the_model_told(rng):
    rate = rng.gamma(2, 1, 4000)
    counts = rng.poisson(rate)

    def transformed(told):
        return randomised_pit(poisson.cdf(counts - 1, told), poisson.cdf(counts, told), rng)

    assert kstest(transformed(rate), "uniform").pvalue > 0.05
    # A rate that is half again too high, and one that does not know what differs between counts.
    assert kstest(transformed(1.5 * rate), "uniform").pvalue < 1e-10
    assert kstest(transformed(np.full_like(rate, 2.0)), "uniform").pvalue < 1e-10


def test_the_transform_of_counts_above_zero_is_that_of_the_distribution_cut_there(rng):
    rate = rng.gamma(2, 0.5, 8000)
    counts = rng.poisson(rate)
    rate, counts = rate[counts > 0], counts[counts > 0]
    low, high = poisson.cdf(counts - 1, rate), poisson.cdf(counts, rate)
    zero = poisson.pmf(0, rate)
    cut = randomised_pit((low - zero) / (1 - zero), (high - zero) / (1 - zero), rng)
    assert kstest(cut, "uniform").pvalue > 0.05
    assert kstest(randomised_pit(low, high, rng), "uniform").pvalue < 1e-10


def test_what_is_no_interval_and_no_probability_is_refused(rng):
    one, two = np.zeros(3), np.ones(3)
    with pytest.raises(ContractError, match="3 of 3 intervals have a lower end"):
        coverage(one, two, one)
    with pytest.raises(ContractError, match=r"shapes differ: truth \(2,\), lower \(3,\)"):
        coverage(one[:2], one, two)
    with pytest.raises(ContractError, match=r"value has shape \(2,\)"):
        coverage_by_decile(one[:2], one, one, two)
    with pytest.raises(ContractError, match="3 of 3 pairs of probabilities"):
        randomised_pit(two, 2 * two, rng)


def test_distance_from_uniform_is_small_of_uniform_values_and_large_of_others():
    values = np.random.default_rng(4).random(5000)
    assert distance_from_uniform(values) < 0.03
    assert distance_from_uniform(values**2) > 0.2
    assert distance_from_uniform(np.array([0.5])) == pytest.approx(0.5)
    assert np.isnan(distance_from_uniform(np.array([])))
