"""The level: gene means on the slide and what depth adds to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from given_slides import withheld

from spared_benchmark.completion.depth_level import DepthLevel, depth_of
from spared_benchmark.completion.visible import Visible

SLOPE = np.array([0.0, -0.3, -0.6, -1.0])


def slides(seed=0, sides=(12, 12), slope=SLOPE, noise=0.3, spread=1.0, hidden=0.3):
    """Return slides whose values fall with depth, log2 of the library size, by ``slope``."""
    generator = np.random.default_rng(seed)
    parts = []
    for code, side in enumerate(sides):
        row = np.repeat(np.arange(side), side)
        col = np.tile(np.arange(side) * 2, side) + row % 2
        depth = generator.normal(0, spread, row.size)
        mean = generator.normal(10, 1, slope.size)
        values = mean + depth[:, None] * slope + generator.normal(0, noise, (row.size, slope.size))
        visible = generator.random(values.shape) >= hidden
        visible[:, 0] |= ~visible.any(axis=1)
        size = 2.0 ** (12 + 2 * code + depth)
        parts.append((values, visible, np.full(row.size, code), row, col, size))
    values, visible, code, row, col, size = (
        np.concatenate(one) for one in zip(*parts, strict=True)
    )
    return Visible(
        values=np.where(visible, values, 0).astype(np.float32),
        visible=visible,
        slide=code.astype(np.int32),
        array_row=row.astype(np.int32),
        array_col=col.astype(np.int32),
        lattice="hexagonal",
        library_size=size.astype(np.float32),
        genes=tuple(f"g{i}" for i in range(slope.size)),
    )


def graded(side=11):
    """Return a slide whose library size doubles with every two rows, alike over columns."""
    given = slides(sides=(side,))
    return replace(given, library_size=(2.0 ** (10 + given.array_row / 2)).astype(np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_the_slope_of_every_gene_is_recovered(seed):
    found = DepthLevel.of_train(slides(seed)).slope
    np.testing.assert_allclose(found, SLOPE, atol=0.1)


def test_the_slope_is_shrunk_where_a_gene_is_rarely_visible():
    given = slides()
    kept = np.ones(given.visible.shape, bool)
    kept[5:, 3] = False  # four or so entries of the gene that falls by one
    found = DepthLevel.of_train(given.without(~kept)).slope
    assert abs(found[3]) < 0.8
    kept[:, 3] = False
    assert DepthLevel.of_train(given.without(~kept)).slope[3] == 0


def test_without_a_spread_of_depth_there_is_no_slope():
    given = slides()
    flat = replace(given, library_size=np.full_like(given.library_size, 500))
    assert (DepthLevel.of_train(flat).slope == 0).all()


def test_the_level_is_the_slides_mean_and_the_slope_by_depth():
    given = slides()
    learnt, depth = DepthLevel.of_train(given), depth_of(given)
    level = learnt.of(given, depth)
    base = learnt.of(given, 0 * depth)
    np.testing.assert_allclose(level - base, depth * learnt.slope, atol=1e-12)
    for code in given.slides:
        own = given.slide == code
        assert (np.ptp(base[own], axis=0) == 0).all()
    errors = (np.square(given.values - one)[given.visible].mean() for one in (level, base))
    assert next(errors) < 0.5 * next(errors)


def test_depth_is_log2_of_the_library_size_centred_on_each_slide():
    given = slides()
    depth = depth_of(given)
    assert depth.shape == (given.n_spots, 1)
    for code in given.slides:
        own = given.slide == code
        assert np.median(depth[own]) == pytest.approx(0, abs=1e-6)
        library = np.log2(given.library_size[own])
        np.testing.assert_allclose(depth[own, 0], library - np.median(library), atol=1e-5)
        np.testing.assert_allclose(depth_of(given.one_slide(code)), depth[own])
    deeper = np.where(given.slide == 1, 8, 1).astype(np.float32) * given.library_size
    np.testing.assert_allclose(depth_of(replace(given, library_size=deeper)), depth, atol=1e-5)


def test_a_withheld_depth_lies_between_its_neighbours():
    given = graded()
    blank = np.flatnonzero((given.array_row == 5) & (given.array_col == 11))
    less = withheld(given, blank)
    assert np.isnan(less.library_size[blank]).all()
    table = given.neighbours(1)[blank[0]]
    around = depth_of(given)[table[table >= 0], 0]
    found = depth_of(less)[blank[0], 0]
    assert around.min() < found < around.max()
    assert found == pytest.approx(around.mean(), abs=0.15)


def test_depths_of_withheld_blocks_follow_those_around():
    given = graded()
    rows = np.flatnonzero((given.array_row > 6) & (given.array_row < 9) & (given.array_col > 7))
    found = depth_of(withheld(given, rows))[rows, 0]
    np.testing.assert_allclose(found, depth_of(given)[rows, 0], atol=0.7)
    assert (found > 0.3).all()


def test_known_depths_are_the_same_whatever_is_withheld_but_for_the_median():
    given = graded()
    less = withheld(given, np.arange(0, given.n_spots, 9))
    known = ~np.isnan(less.library_size)
    change = depth_of(less)[known] - depth_of(given)[known]
    np.testing.assert_allclose(change, change[0, 0], atol=1e-9)


def test_a_slide_without_library_sizes_has_depths_of_zero():
    given = slides()
    own = given.slide == 1
    depth = depth_of(withheld(given, np.flatnonzero(own)))
    assert (depth[own] == 0).all()
    np.testing.assert_allclose(depth[~own], depth_of(given)[~own])


def test_an_empty_library_is_no_infinity():
    given = slides()
    empty = given.library_size.copy()
    empty[0] = 0
    assert np.isfinite(depth_of(replace(given, library_size=empty))).all()


def test_the_order_of_spots_does_not_matter():
    given = withheld(slides(), np.arange(3, 200, 11))
    order = np.random.default_rng(0).permutation(given.n_spots)
    moved = given.rows(order)
    np.testing.assert_allclose(depth_of(moved), depth_of(given)[order], atol=1e-2)
    one, other = DepthLevel.of_train(given), DepthLevel.of_train(moved)
    np.testing.assert_allclose(one.slope, other.slope, atol=1e-3)


def test_what_is_loaded_is_what_was_learnt():
    learnt = DepthLevel.of_train(slides())
    loaded = DepthLevel.loaded(learnt.state())
    assert np.array_equal(loaded.slope, learnt.slope)
    assert np.array_equal(loaded.gene_mean, learnt.gene_mean)
