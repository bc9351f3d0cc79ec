import numpy as np
import pytest

from spared_benchmark.expression.empirical_bayes import (
    Moments,
    affine,
    moments,
    posterior,
    reference_of,
)


def test_moments_of_visible_entries():
    values = np.array([[1.0, 5.0], [3.0, np.nan], [9.0, 7.0]])
    visible = np.array([[True, True], [True, False], [False, True]])
    summed = moments(values, visible)
    assert summed.count.tolist() == [2, 2]
    assert summed.mean.tolist() == [2, 6]
    assert summed.squares.tolist() == [2, 2]


def test_the_reference_is_the_pooled_mean_and_the_spread_within_batches():
    batches = [moments(np.array([[0.0], [2.0]]), None), moments(np.full((4, 1), 10.0), None)]
    reference = reference_of(batches)
    assert reference.mean[0] == pytest.approx((2 * 1 + 4 * 10) / 6)
    assert reference.deviation[0] == pytest.approx(np.sqrt(2 / 6))


def test_the_posterior_is_a_fixed_point_of_the_published_equations():
    rng = np.random.default_rng(0)
    values = rng.normal(rng.normal(0, 1, 30), rng.uniform(0.5, 2, 30), (25, 30))
    summed = moments(values, None)
    reference = reference_of([summed, moments(rng.normal(size=(40, 30)), None)])
    gamma, scale = posterior(summed, reference)
    z = (values - reference.mean) / reference.deviation
    location, spread = z.mean(axis=0), z.var(axis=0, ddof=1)
    tau2, m, s2 = location.var(ddof=1), spread.mean(), spread.var(ddof=1)
    lam, theta = (m**2 + 2 * s2) / s2, (m**3 + m * s2) / s2
    delta = scale**2
    assert gamma == pytest.approx(
        (25 * tau2 * location + delta * location.mean()) / (25 * tau2 + delta), abs=1e-8
    )
    expected = (theta + ((z - gamma) ** 2).sum(axis=0) / 2) / (25 / 2 + lam - 1)
    assert delta == pytest.approx(expected, abs=1e-8)


def test_little_data_is_drawn_to_the_other_genes_and_much_is_not():
    rng = np.random.default_rng(1)
    reference = reference_of([moments(rng.normal(size=(400, 20)), None)])
    for spots, drawn in ((3, True), (3000, False)):
        values = rng.normal(1, 1, (spots, 20))
        values[:, 0] += 3
        gamma, _ = posterior(moments(values, None), reference)
        raw = (values[:, 0].mean() - reference.mean[0]) / reference.deviation[0]
        assert bool(raw - gamma[0] > 0.1) is drawn


def test_equal_genes_are_a_limit_not_a_division_by_zero():
    rng = np.random.default_rng(2)
    one = np.repeat(rng.normal(2, 3, (10, 1)), 4, axis=1)
    reference = reference_of([moments(rng.normal(size=(40, 4)), None)])
    other = reference_of([moments(np.repeat(rng.normal(size=(40, 1)), 4, axis=1), None)])
    for frame in (reference, other):
        gamma, scale = posterior(moments(one, None), frame)
        assert np.isfinite(gamma).all()
        assert (scale > 0).all()


def test_no_prior_from_one_gene():
    reference = reference_of([moments(np.random.default_rng(3).normal(size=(9, 2)), None)])
    alone = Moments(np.array([5.0, 1.0]), np.zeros(2), np.ones(2))
    assert posterior(alone, reference) is None


def test_the_affine_map_standardises_and_gives_back():
    reference = reference_of([moments(np.array([[0.0, 1.0], [2.0, 1.0]]), None)])
    assert reference.varying.tolist() == [True, False]
    scale, shift = affine(np.array([0.5, 9.0]), np.array([2.0, 9.0]), reference)
    value = 3.0
    expected = 1.0 * (((value - 1) / 1.0) - 0.5) / 2.0 + 1
    assert scale[0] * value + shift[0] == pytest.approx(expected)
    assert (scale[1], shift[1]) == (1.0, 0.0)
