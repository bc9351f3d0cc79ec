"""What a completer hides from itself is a function of place and gene, and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from given_slides import in_gene_order, large_slide

from spared_benchmark.completion.inner import inner_blocks, inner_hidden

GENES = tuple(f"gene_{i}" for i in range(20))


@pytest.fixture(scope="module")
def slide():
    return large_slide(GENES, side=40)


@pytest.fixture(scope="module")
def two(slide):
    """Two slides, the second at other places of the lattice and of other visible entries."""
    moved = large_slide(GENES, side=30)
    codes = np.repeat([0, 1], [slide.n_spots, moved.n_spots]).astype(np.int32)
    parts = {
        name: np.concatenate([getattr(slide, name), getattr(moved, name) + shift])
        for name, shift in (("array_row", 0), ("array_col", 6))
    } | {
        name: np.concatenate([getattr(slide, name), getattr(moved, name)])
        for name in ("values", "visible", "library_size")
    }
    return replace(slide, slide=codes, **parts)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("draw", [0, 1, 2])
def test_the_share_is_as_asked_of_all_of_every_gene_and_by_place(slide, fraction, draw):
    hidden = inner_hidden(slide, fraction, draw)
    assert not (hidden & ~slide.visible).any()
    assert hidden.sum() / slide.visible.sum() == pytest.approx(fraction, abs=0.01)
    of_genes = hidden.sum(axis=0) / slide.visible.sum(axis=0)
    np.testing.assert_allclose(of_genes, fraction, atol=0.07)
    for axis in (slide.array_row, slide.array_col):
        sums = (np.bincount(axis, weights=one.sum(axis=1)) for one in (hidden, slide.visible))
        np.testing.assert_allclose(np.divide(*sums), fraction, atol=0.13)


def test_entries_are_hidden_independently_of_neighbours_and_other_genes(slide):
    hidden = inner_hidden(replace(slide, visible=np.ones_like(slide.visible)), 0.3)
    among_genes = np.corrcoef(hidden.T.astype(float)) - np.eye(len(GENES))
    assert np.abs(among_genes).max() < 0.12
    grid = hidden.reshape(40, 40, -1).astype(float) - 0.3
    for other in (grid[1:], grid[:, 1:]):
        own = grid[: other.shape[0], : other.shape[1]]
        assert abs((own * other).mean()) < 0.01


def test_more_hidden_contains_less_hidden(slide):
    assert not (inner_hidden(slide, 0.2) & ~inner_hidden(slide, 0.5)).any()


def test_nothing_and_all_can_be_asked_for(slide):
    assert not inner_hidden(slide, 0.0).any()
    assert np.array_equal(inner_hidden(slide, 1.0), slide.visible)


def test_another_draw_hides_others(slide):
    one, other = (inner_hidden(slide, 0.3, draw) for draw in (0, 1))
    both = (one & other).sum() / slide.visible.sum()
    assert both == pytest.approx(0.09, abs=0.01)
    blocks = [inner_blocks(slide, 1, 0.05, draw) for draw in (0, 1)]
    assert (blocks[0] & ~blocks[1]).any()


def hidings():
    return pytest.mark.parametrize(
        "hide",
        [lambda given: inner_hidden(given, 0.3), lambda given: inner_blocks(given, 2, 0.02)],
        ids=["entries", "blocks"],
    )


@hidings()
def test_the_order_of_spots_and_genes_does_not_matter(slide, hide):
    hidden = hide(slide)
    generator = np.random.default_rng(0)
    spots, genes = generator.permutation(slide.n_spots), generator.permutation(len(GENES))
    assert np.array_equal(hide(slide.rows(spots)), hidden[spots])
    assert np.array_equal(hide(in_gene_order(slide, genes)), hidden[:, genes])


@hidings()
def test_other_slides_do_not_matter(two, hide):
    together = hide(two)
    for code in (0, 1):
        own = two.slide == code
        assert np.array_equal(hide(two.one_slide(code)), together[own])


@hidings()
def test_values_do_not_matter_and_visibility_only_limits(slide, hide):
    whole = replace(slide, visible=np.ones_like(slide.visible))
    assert np.array_equal(hide(slide), hide(whole) & slide.visible)
    assert np.array_equal(hide(replace(slide, values=2 * slide.values)), hide(slide))


def test_blocks_hide_whole_spots_around_centres(slide):
    hidden = inner_blocks(slide, 2, 0.02)
    spots = hidden.any(axis=1)
    assert np.array_equal(hidden, slide.visible & spots[:, None])
    assert 0.1 < spots.mean() < 0.5
    # All around a centre within two steps is hidden, and of other spots none.
    table = slide.neighbours(2)
    centres = spots & (np.append(spots, True)[table]).all(axis=1)
    near = centres | (np.append(centres, False)[table]).any(axis=1)
    assert np.array_equal(spots, near)
    assert not inner_blocks(slide, 2, 0.0).any()
