"""What is particular to each rival: the cases in which theory says what must come out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spared_benchmark.completion import completers
from spared_benchmark.completion.expression_neighbours import (
    knn_smoothing_neighbours,
    magic_diffusion,
)
from spared_benchmark.completion.factors import Data, first_factors, fit_factors
from spared_benchmark.completion.lattice_kernel import LatticeGrid
from spared_benchmark.completion.lattice_process import ExponentialCovariance, regress
from spared_benchmark.completion.methods.alra_zeros import published_rank
from spared_benchmark.completion.residual import Residuals
from spared_benchmark.completion.setting import Setting
from spared_benchmark.completion.spectrum import hard_impute, soft_impute
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import InputError

SMOOTHERS = {
    "kernel": {"width": 1.5, "shrinkage": 1e12},
    "magic": {"knn": 5, "steps": 2, "shrinkage": 1e12},
    "knn": {"k": 8, "shrinkage": 1e12},
    "sme": {"neighbours": 6, "shrinkage": 1e12},
    "gp": {"length": 2.0, "strength": 0.0},
}
TRIED = ["kernel", "gp", "ppca", "low_rank", "ridge", "alra", "magic", "knn", "sme"]


def hexagonal(side):
    row = np.repeat(np.arange(side), side).astype(np.int32)
    col = (np.tile(np.arange(side) * 2, side) + row % 2).astype(np.int32)
    return row, col


def made(values, visible, side, slide=None, lattice="hexagonal"):
    row, col = hexagonal(side)
    return Visible(
        values=np.where(visible, values, 0).astype(np.float32),
        visible=visible,
        slide=np.zeros(len(values), np.int32) if slide is None else slide,
        array_row=row,
        array_col=col,
        lattice=lattice,
        library_size=np.where(visible.any(axis=1), 100, np.nan).astype(np.float32),
        genes=tuple(f"g{i}" for i in range(values.shape[1])),
    )


def rank_two(seed, n_spots=400, n_genes=40):
    loadings = np.random.default_rng(7).normal(size=(2, n_genes))
    return np.random.default_rng(seed).normal(size=(n_spots, 2)) @ loadings + 9


def smooth(seed, side=16, n_genes=12):
    row, col = hexagonal(side)
    generator = np.random.default_rng(seed)
    phase = generator.uniform(0, 6, n_genes)
    wave = np.sin(row[:, None] / 3 + phase) + np.cos(col[:, None] / 6 + phase)
    return 8 + wave + generator.normal(0, 0.5, wave.shape)


def problem(make, side, seed=0):
    """A train slide and a val slide, each with half of its entries hidden."""
    parts = []
    for number in (seed, seed + 1):
        values = make(number)
        visible = np.random.default_rng(number + 50).random(values.shape) < 0.5
        parts.append((values, visible, made(values, visible, side)))
    values, visible, val = parts[1]
    selection = Selection(val, ~visible, np.where(visible, 0, values).astype(np.float32))
    return parts[0][2], selection


def mse(completer, selection, given=None):
    completed = completer.complete(selection.visible if given is None else given)
    return float(np.square(completed - selection.truth)[selection.hidden].mean())


def test_ppca_recovers_a_matrix_of_rank_two(training):
    train, selection = problem(rank_two, 20)
    completer = completers.create("ppca", rank=2, train_spots=0, rounds=200, train_rounds=200)
    completer.fit(train, selection, training)
    assert mse(completer, selection) ** 0.5 < 1e-2


def test_low_rank_recovers_a_matrix_of_rank_two(training):
    train, selection = problem(rank_two, 20)
    scattered = replace(
        selection.visible,
        array_row=selection.visible.array_row * 10,
        array_col=selection.visible.array_col * 10,
    )
    path = (0.5, 0.2, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)
    completer = completers.create("low_rank", penalty=1e-4, path=path, rounds=2000, tolerance=1e-7)
    completer.fit(train, selection, training)
    assert mse(completer, selection, scattered) ** 0.5 < 1e-2


def test_alra_recovers_a_matrix_of_rank_two(training):
    train, selection = problem(rank_two, 20)
    completer = completers.create("alra", rank=3, rounds=2000, tolerance=1e-7)
    completer.fit(train, selection, training)
    assert mse(completer, selection) ** 0.5 < 1e-2


@pytest.mark.parametrize("name", ["kernel", "gp", "low_rank", "sme"])
def test_space_beats_the_mean_on_a_smooth_field_and_not_on_a_shuffled_one(name, training):
    train, selection = problem(smooth, 16)
    completer, mean = completers.create(name), completers.create("slide_gene_mean")
    completer.fit(train, selection, training)
    mean.fit(train, selection, training)
    assert mse(completer, selection) < 0.6 * mse(mean, selection)
    if name in ("kernel", "gp"):  # the others go on finding what the genes share
        order = np.random.default_rng(1).permutation(train.n_spots)
        row, col = hexagonal(16)
        shuffled = replace(selection.visible, array_row=row[order], array_col=col[order])
        assert mse(completer, selection, shuffled) > 0.95 * mse(mean, selection)


@pytest.mark.parametrize("name", SMOOTHERS)
def test_full_shrinkage_leaves_mean_and_offset(name, training):
    train, selection = problem(smooth, 16)
    completer = completers.create(name, **SMOOTHERS[name])
    completer.fit(train, selection, training)
    given = selection.visible
    expected = Residuals.of(given, completer.gene_mean).base
    found = completer.complete(given)
    np.testing.assert_allclose(found[~given.visible], expected[~given.visible], rtol=1e-6)


def test_full_shrinkage_of_the_low_rank_part_leaves_the_additive_model(training):
    train, selection = problem(smooth, 16)
    found, expected = completers.create("low_rank", penalty=1.0), completers.create("additive")
    for completer in (found, expected):
        completer.fit(train, selection, training)
    given = selection.visible
    np.testing.assert_allclose(found.complete(given), expected.complete(given), rtol=1e-5)


def test_rank_zero_leaves_the_mean(training):
    train, selection = problem(smooth, 16)
    found, expected = completers.create("alra", rank=0), completers.create("slide_gene_mean")
    for completer in (found, expected):
        completer.fit(train, selection, training)
    given = selection.visible
    np.testing.assert_allclose(found.complete(given), expected.complete(given), rtol=1e-6)
    flat = completers.create("ppca", rank=0, train_spots=0)
    flat.fit(train, selection, training)
    completed = np.where(given.visible, np.nan, flat.complete(given))
    spread = np.nanmax(completed, axis=0) - np.nanmin(completed, axis=0)
    np.testing.assert_allclose(spread, 0, atol=1e-5)


@pytest.mark.parametrize("name", TRIED)
def test_the_choice_is_the_best_of_what_the_card_lists(name, expression, masks, training):
    setting = Setting(expression, masks, "log_tpm")
    completer = completers.create(name)
    completer.fit(setting.train(), setting.selection(), training)
    tried = completer.record["grid"]
    best = min(row["val_mse"] for row in tried)
    assert {**completer.record["chosen"], "val_mse": best} in tried
    selection = setting.selection()
    assert mse(completer, selection) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("name", TRIED)
def test_a_choice_needs_selection_entries_and_one_value_does_not(name, training):
    train, selection = problem(smooth, 16)
    nothing = replace(selection, hidden=np.zeros_like(selection.hidden))
    with pytest.raises(InputError, match=f"{name}: no entry is hidden for selection"):
        completers.create(name).fit(train, nothing, training)
    tuned = completers.get(name).tuned
    first = {key: completers.get(name).defaults[key][0] for key in tuned}
    completer = completers.create(name, **first)
    completer.fit(train, nothing, training)
    assert completer.record == {"chosen": first}


def test_gaussian_sums_are_those_over_all_pairs():
    for lattice in ("hexagonal", "diamond"):
        values = np.random.default_rng(0).normal(size=(36, 3))
        slide = made(values, np.ones(values.shape, bool), 6, lattice=lattice)
        grid = LatticeGrid(slide)
        distance = np.hypot(*(place[:, None] - place[None, :] for place in grid.places.T))
        assert np.sort(distance, axis=1)[:, 1] == pytest.approx(1)
        weights = np.exp(-0.5 * (distance / 1.5) ** 2) - np.eye(36)
        np.testing.assert_allclose(grid.gaussian_sums(values, 1.5), weights @ values, atol=1e-10)


@pytest.mark.parametrize("dense_spots", [0, 100])
def test_the_process_solves_each_genes_system(dense_spots):
    generator = np.random.default_rng(0)
    visible = generator.random((36, 3)) < 0.6
    values = np.where(visible, generator.normal(size=(36, 3)), 0)
    grid = LatticeGrid(made(values, visible, 6))
    covariance = ExponentialCovariance(grid, 2.0, dense_spots)
    share = np.array([0.0, 0.4, 0.9])
    found = regress(covariance, values, visible.astype(float), share, tolerance=1e-8, rounds=300)
    distance = np.hypot(*(place[:, None] - place[None, :] for place in grid.places.T))
    whole = np.exp(-distance / 2.0)
    for gene in range(3):
        seen = visible[:, gene]
        system = share[gene] * whole[np.ix_(seen, seen)] + (1 - share[gene]) * np.eye(seen.sum())
        solved = np.linalg.solve(system, values[seen, gene])
        expected = share[gene] * whole[:, seen] @ solved
        np.testing.assert_allclose(found[:, gene], expected, atol=1e-5)


def test_soft_impute_minimises_its_objective():
    generator = np.random.default_rng(0)
    visible = (generator.random((30, 8)) < 0.6).astype(float)
    values = visible * generator.normal(size=(30, 8))

    def objective(matrix):
        nuclear = np.linalg.svd(matrix, compute_uv=False).sum()
        return 0.5 * np.square(visible * (values - matrix)).sum() + 1.5 * nuclear

    found = soft_impute(values, visible, 1.5, np.zeros((30, 8)), rounds=3000, tolerance=1e-10)
    for size in (1e-1, 1e-2, 1e-3):
        moved = found + size * generator.normal(size=found.shape)
        assert objective(found) < objective(moved)


def test_hard_impute_of_a_visible_matrix_is_its_truncated_decomposition():
    values = np.random.default_rng(0).normal(size=(20, 6))
    found = hard_impute(
        values, np.ones(values.shape), 2, np.zeros(values.shape), rounds=3, tolerance=0.0
    )
    left, singular, right = np.linalg.svd(values, full_matrices=False)
    np.testing.assert_allclose(found, (left[:, :2] * singular[:2]) @ right[:2], atol=1e-10)


def test_factors_find_noise_and_loadings_of_the_model():
    generator = np.random.default_rng(0)
    loadings = generator.normal(size=(10, 2))
    spread = np.linspace(0.3, 1.0, 10)
    values = generator.normal(size=(4000, 2)) @ loadings.T
    values += generator.normal(size=values.shape) * spread
    visible = (generator.random(values.shape) < 0.7).astype(float)
    data = Data(values * visible, visible, np.zeros(4000, np.intp))
    factors, _ = fit_factors(data, first_factors(data, 2), 200, 0, 0)
    np.testing.assert_allclose(factors.noise, spread**2, rtol=0.15)
    shared = factors.loadings @ factors.loadings.T
    np.testing.assert_allclose(shared, loadings @ loadings.T, atol=0.2)


def test_magic_gives_a_markov_matrix_that_keeps_constants():
    values = np.random.default_rng(0).normal(size=(50, 6))
    markov = magic_diffusion(values, 5)
    np.testing.assert_allclose(markov.sum(axis=1), 1)
    assert markov.nnz <= 50 * (2 * 15 + 1)
    np.testing.assert_allclose(markov @ np.full(50, 3.0), 3.0)


def test_magic_takes_nothing_from_unlike_spots_where_twins_set_the_scale():
    twins, others = np.zeros((8, 6)), np.random.default_rng(1).normal(5, 1, size=(20, 6))
    markov = magic_diffusion(np.concatenate([twins, others]), 5)
    assert markov[:8, 8:].sum() == 0


def test_knn_smoothing_finds_the_groups():
    generator = np.random.default_rng(0)
    group = np.repeat([0, 1], 16)
    values = generator.normal(size=(32, 5)) + 20 * group[:, None]
    table = knn_smoothing_neighbours(values, 8, 3, lambda table: values[table].mean(axis=1))
    assert table.shape == (32, 8)
    assert (table[:, 0] == np.arange(32)).all()
    assert (group[table] == group[:, None]).all()


def test_the_published_rank_of_alra_is_the_last_spacing_above_noise():
    singular = 50 - 0.01 * np.arange(120) - 1e-4 * np.sin(np.arange(120.0))
    singular[:4] += 10
    singular[:2] += 10
    assert published_rank(singular) == 4
    assert published_rank(singular[:100]) is None


def test_zeros_pull_a_published_smoother_far_below_the_level(expression, masks, training):
    setting = Setting(expression, masks, "log_tpm")
    selection = setting.selection()
    for name in ("magic", "knn", "sme", "alra"):
        errors = []
        for form in (name, f"{name}_zeros"):
            completer = completers.create(form)
            completer.fit(setting.train(), selection, training)
            errors.append(mse(completer, selection))
        assert errors[1] > 2 * errors[0]


def test_sme_on_zeros_averages_a_spot_with_its_two_likest(training):
    values = smooth(0, side=6)
    visible = np.random.default_rng(0).random(values.shape) < 0.7
    given = made(values, visible, 6)
    completer = completers.create("sme_zeros", neighbours=1)
    train, selection = problem(lambda seed: smooth(seed, side=6), 6)
    completer.fit(train, selection, training)
    assert (completer.complete(given)[~visible] == 0).all()
    three = completers.create("sme_zeros")
    three.fit(train, selection, training)
    completed = three.complete(given)
    # A third of the weight at least is the spot's own zero.
    assert (completed[~visible] < values.max() * 2 / 3).all()
    assert (completed[~visible] > 0).any()
