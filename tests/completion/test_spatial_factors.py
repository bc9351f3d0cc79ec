"""Factors that are continuous over the slide: what theory and simulations say they find."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag

from spared_benchmark.completion import spatial_factors
from spared_benchmark.completion.kriging import LatticeCovariance, posterior_mean
from spared_benchmark.completion.lattice_kernel import UNITS
from spared_benchmark.completion.spatial_factors import (
    Evidence,
    Loadings,
    Space,
    _Fit,
    expect,
    fit_loadings,
)
from spared_benchmark.completion.visible import Visible

CPU = torch.device("cpu")
LENGTH = 6.0
NOISE = 0.5  # standard deviation
GENES = 16


def slide_of(side):
    row = np.repeat(np.arange(side), side)
    col = np.tile(np.arange(side) * 2, side) + row % 2
    return Visible(
        values=np.ones((row.size, 1), np.float32),
        visible=np.ones((row.size, 1), bool),
        slide=np.zeros(row.size, np.int32),
        array_row=row.astype(np.int32),
        array_col=col.astype(np.int32),
        lattice="hexagonal",
        library_size=np.ones(row.size, np.float32),
        genes=("g",),
    )


def pairs(slide):
    places = np.stack([slide.array_row, slide.array_col], axis=1) * np.array(UNITS[slide.lattice])
    return np.exp(-np.linalg.norm(places[:, None] - places[None], axis=2) / LENGTH)


def space_of(slide):
    table = torch.from_numpy(slide.neighbours(1).astype(np.int64))
    return Space(LatticeCovariance(slide, LENGTH, CPU), table)


def evidence_of(values, visible, slide=None):
    numbers = np.zeros(len(values), int) if slide is None else slide
    arrays = (
        np.where(visible, values, 0.0),
        visible.astype(float),
        np.eye(numbers.max() + 1)[numbers],
    )
    return Evidence(*(torch.from_numpy(one) for one in arrays))


def drawn(seed, slide, share=0.0, genes=GENES, hidden=0.3):
    """Return the signal of two factors, what would be measured, and what is visible."""
    generator = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(genes, 2))
    root = np.linalg.cholesky(pairs(slide) + 1e-9 * np.eye(slide.n_spots))
    smooth, own = generator.normal(size=(2, slide.n_spots, 2))
    scores = np.sqrt(share) * root @ smooth + np.sqrt(1 - share) * own
    signal = scores @ loadings.T
    values = signal + generator.normal(0, NOISE, signal.shape)
    return signal, values, generator.random(signal.shape) >= hidden


def mse(found, truth, entries):
    return float(np.square(found - truth)[entries].mean())


@pytest.fixture(scope="module")
def slide():
    return slide_of(15)


@pytest.fixture(scope="module")
def trained():
    """Loadings from a train slide of 400 spots."""
    _, values, visible = drawn(0, slide_of(20), share=0.9)
    return fit_loadings(evidence_of(values, visible), 8, 80)


@pytest.fixture(scope="module")
def scaled():
    """Loadings from a train slide on which scores have the variance of 1 that the model means."""
    _, values, visible = drawn(0, slide_of(20), share=0.0)
    return fit_loadings(evidence_of(values, visible), 8, 80)


@pytest.fixture
def exact(monkeypatch):
    """Let conjugate gradients go on to the end, not to a tolerance."""
    whole = partial(posterior_mean, tolerance=1e-11, rounds=2000)
    monkeypatch.setattr(spatial_factors, "posterior_mean", whole)


@pytest.fixture(scope="module")
def smooth(slide):
    """A slide of smooth scores, two thirds of it and some whole spots hidden."""
    signal, values, visible = drawn(1, slide, share=0.95, hidden=0.67)
    blank = np.random.default_rng(5).random(slide.n_spots) < 0.1
    visible[blank] = False
    return signal, values, visible, blank


@pytest.mark.parametrize("seed", range(3))
def test_of_eight_factors_the_two_that_exist_remain_and_the_noise_is_found(seed):
    _, values, visible = drawn(seed, slide_of(20))
    loadings = fit_loadings(evidence_of(values, visible), 8, 80)
    assert loadings.mean.shape == (GENES, 2)
    assert loadings.covariance.shape == (GENES, 2, 2)
    assert float(loadings.noise.mean()) == pytest.approx(NOISE**2, rel=0.1)
    np.testing.assert_allclose(loadings.noise.numpy(), NOISE**2, rtol=0.35)
    truth = np.random.default_rng(99).normal(size=(GENES, 2))
    found = (loadings.mean @ loadings.mean.T).numpy()
    assert np.abs(found - truth @ truth.T).mean() < 0.15 * np.abs(truth @ truth.T).mean()


def test_what_a_whole_slide_is_shifted_by_is_no_affair_of_its_factors(slide, trained, smooth):
    _, values, visible, blank = smooth
    shift = np.random.default_rng(3).normal(0, 0.4, GENES)
    before, after = (
        expect(evidence_of(given, visible), space_of(slide), trained, 300.0, 20).mean.numpy()
        for given in (values, values + shift)
    )
    change = (after - before).mean(axis=0)
    np.testing.assert_allclose(change, shift, atol=0.15)
    np.testing.assert_allclose((after - before)[blank].mean(axis=0), shift, atol=0.2)


def test_it_beats_zeros_and_space_beats_none_where_scores_are_smooth(slide, trained, smooth):
    signal, values, visible, blank = smooth
    evidence = evidence_of(values, visible)
    with_space = expect(evidence, space_of(slide), trained, 300.0, 20).mean.numpy()
    without = expect(evidence, None, trained, 300.0, 20).mean.numpy()
    shown = ~visible & ~blank[:, None]
    assert mse(without, signal, shown) < 0.6 * mse(0 * signal, signal, shown)
    assert mse(with_space, signal, shown) < 0.7 * mse(without, signal, shown)
    hidden = np.repeat(blank[:, None], GENES, axis=1)
    assert mse(with_space, signal, hidden) < 0.7 * mse(without, signal, hidden)
    assert np.corrcoef(with_space[blank].ravel(), signal[blank].ravel())[0, 1] > 0.5
    # Without space nothing is known of them but the slide's shifts, the same for all.
    np.testing.assert_allclose(np.ptp(without[blank], axis=0), 0, atol=1e-12)


def test_space_does_no_harm_where_scores_are_not_smooth(slide, trained):
    signal, values, visible = drawn(4, slide, share=0.0, hidden=0.5)
    evidence = evidence_of(values, visible)
    errors = [
        mse(expect(evidence, space, trained, 300.0, 20).mean.numpy(), signal, ~visible)
        for space in (space_of(slide), None)
    ]
    assert errors[0] < 1.03 * errors[1]


def test_the_variance_is_larger_where_less_is_visible(slide, trained, smooth):
    _, values, visible, blank = smooth
    for space in (space_of(slide), None):
        variance = expect(evidence_of(values, visible), space, trained, 300.0, 20).variance.numpy()
        assert (variance > 0).all()
        hidden = ~visible & ~blank[:, None]
        assert variance[blank].mean() > variance[hidden].mean() > variance[visible].mean()


def test_the_variance_is_that_of_errors(slide, trained):
    ratios = []
    for seed in range(4):
        _, values, visible = drawn(10 + seed, slide, share=0.0, hidden=0.5)
        told = expect(evidence_of(values, visible), None, trained, 300.0, 20)
        squares = np.square(values - told.mean.numpy()) / told.variance.numpy()
        ratios.append(squares[~visible].mean())
    assert np.mean(ratios) == pytest.approx(1, abs=0.15)


def tiny():
    values = np.array([[1.0, -0.5, 0.0], [0.3, 0.0, 2.0], [0.0, 0.0, 0.0]])
    visible = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 0]], dtype=bool)
    loading, spread = np.array([0.8, -1.2, 0.5]), np.array([0.1, 0.0, 0.2])
    noise = np.array([0.4, 0.3, 0.9])
    known = Loadings(*map(torch.from_numpy, (loading[:, None], spread[:, None, None], noise)))
    return values, visible, known


def posterior(values, visible, known):
    """Return means and variances of scores of rank 1, loadings being uncertain."""
    loading, spread, noise = (
        part.numpy().reshape(3) for part in (known.mean, known.covariance, known.noise)
    )
    variance = 1 / (1 + visible @ ((loading**2 + spread) / noise))
    return variance * ((values * visible) @ (loading / noise)), variance


def test_scores_are_the_posterior_of_known_loadings():
    values, visible, known = tiny()
    told = expect(evidence_of(values, visible), None, known, 1.0, 0)
    score, variance = posterior(values, visible, known)
    loading, spread, noise = (
        known.mean.numpy()[:, 0],
        known.covariance.numpy()[:, 0, 0],
        known.noise,
    )
    np.testing.assert_allclose(told.mean.numpy(), np.outer(score, loading))
    expected = (
        np.outer(variance, loading**2) + np.outer(variance + score**2, spread) + noise.numpy()
    )
    np.testing.assert_allclose(told.variance.numpy(), expected)
    assert score[2] == 0
    assert variance[2] == 1


def test_a_round_updates_loadings_noise_and_shifts_as_by_hand():
    values, visible, known = tiny()
    fit = _Fit(evidence_of(values, visible), known, prior=known, prior_spots=7.0)
    fit.step()
    score, variance = posterior(values, visible, known)
    loading, noise = known.mean.numpy()[:, 0], known.noise.numpy()
    second = visible.T @ (variance + score**2)
    mean = ((values * visible).T @ score + 7.0 * loading) / (second + 7.0)
    spread = noise / (second + 7.0)
    np.testing.assert_allclose(fit.loadings.mean.numpy()[:, 0], mean)
    np.testing.assert_allclose(fit.loadings.covariance.numpy()[:, 0, 0], spread)
    expected = np.zeros(3)  # E[(x − w z)²] over both posteriors, summed over visible entries
    for gene in range(3):
        of_product = (mean[gene] ** 2 + spread[gene]) * (variance + score**2)
        square = values[:, gene] ** 2 - 2 * values[:, gene] * mean[gene] * score + of_product
        expected[gene] = square[visible[:, gene]].sum()
    common = expected.sum() / visible.sum()
    counts = visible.sum(axis=0)
    np.testing.assert_allclose(fit.loadings.noise, (expected + 50 * common) / (counts + 50))
    errors = visible * (values - np.outer(score, mean))
    np.testing.assert_allclose(fit.shifts.numpy()[0], errors.sum(axis=0) / (counts + 5))


def test_smoothed_scores_are_those_of_the_gaussian_process(slide, scaled, exact):
    _, values, visible = drawn(2, slide, share=0.6, hidden=0.6)
    visible[::7] = False
    fit = _Fit(evidence_of(values, visible), scaled, prior=scaled, prior_spots=1.0)
    fit.smooth(space_of(slide))
    share = fit.share.numpy()
    assert share.max() > 0.5
    second = scaled.second().numpy() / scaled.noise.numpy()[:, None, None]
    precision = np.einsum("ng,gqr->nqr", visible, second)
    information = (values * visible) @ (scaled.mean / scaled.noise[:, None]).numpy()
    prior = np.kron(pairs(slide), np.diag(share)) + np.kron(
        np.eye(slide.n_spots), np.diag(1 - share)
    )
    system = block_diag(*precision) + np.linalg.inv(prior)
    expected = np.linalg.solve(system, information.ravel()).reshape(-1, 2)
    found, _ = fit._scores(fit._centred())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_share_that_is_continuous_is_estimated(scaled, share):
    wide, found = slide_of(28), []
    for seed in range(3):
        _, values, visible = drawn(20 + seed, wide, share=share, hidden=0.8)
        fit = _Fit(evidence_of(values, visible), scaled, prior=scaled, prior_spots=3000.0)
        for _ in range(6):
            fit.step()
        fit.smooth(space_of(wide))
        found += fit.share.tolist()
    assert np.mean(found) == pytest.approx(share, abs=0.15)


@pytest.mark.parametrize(("spots", "genes"), [(36, 5), (1, 5), (36, 1), (1, 1)])
@pytest.mark.parametrize("content", ["zeros", "nothing", "noise"])
def test_little_evidence_gives_finite_results(spots, genes, content):
    slide = slide_of(6).rows(np.arange(spots))
    values = np.random.default_rng(0).normal(size=(spots, genes)) * (content == "noise")
    visible = np.full(values.shape, content != "nothing")
    evidence = evidence_of(values, visible)
    loadings = fit_loadings(evidence, 4, 10)
    for space in (space_of(slide), None):
        told = expect(evidence, space, loadings, 30.0, 8)
        assert torch.isfinite(told.mean).all()
        assert torch.isfinite(told.variance).all()
        assert (told.variance > 0).all()
        assert content == "noise" or (told.mean == 0).all()


def test_the_order_of_spots_and_genes_does_not_matter(slide, exact):
    _, values, visible = drawn(6, slide, share=0.8)
    generator = np.random.default_rng(0)
    spots, genes = generator.permutation(slide.n_spots), generator.permutation(GENES)

    def told(values, visible, slide):
        evidence = evidence_of(values, visible)
        return expect(evidence, space_of(slide), fit_loadings(evidence, 4, 30), 30.0, 12)

    before = told(values, visible, slide)
    moved = told(values[spots], visible[spots], slide.rows(spots))
    swapped = told(values[:, genes], visible[:, genes], slide)
    for part in ("mean", "variance"):
        one = getattr(before, part).numpy()
        np.testing.assert_allclose(getattr(moved, part).numpy(), one[spots], atol=1e-5)
        np.testing.assert_allclose(getattr(swapped, part).numpy(), one[:, genes], atol=1e-5)


def test_what_is_not_visible_does_not_matter(slide, trained):
    _, values, visible = drawn(7, slide, share=0.8)
    other = np.where(visible, values, values + 100)
    one, two = (
        expect(evidence_of(given, visible), space_of(slide), trained, 30.0, 8).mean
        for given in (values, other)
    )
    assert torch.equal(one, two)


def test_many_prior_spots_keep_the_loadings_and_few_let_the_slide_speak(slide, trained):
    wrong = replace(trained, mean=trained.mean.flip(0))
    signal, values, visible = drawn(8, slide, share=0.9)
    errors = [
        mse(
            expect(evidence_of(values, visible), None, wrong, spots, 40).mean.numpy(),
            signal,
            ~visible,
        )
        for spots in (1.0, 1e6)
    ]
    assert errors[0] < 0.5 * errors[1]
