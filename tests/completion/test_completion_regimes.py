"""What each way of hiding hides: which entries, how many, and where."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit

from spared_benchmark.completion.regimes import (
    blocks,
    entries,
    gene_region,
    low_values,
    spots,
)
from spared_benchmark.completion.regimes.ground import Ground

SPATIAL = {"spots": spots.hidden, "blocks": blocks.hidden, "gene_region": gene_region.hidden}
ALL = {"entries": entries.hidden, "low_values": low_values.hidden, **SPATIAL}
SIDE, GENES = 24, 40


def make_ground(seed=0, measured=0.7, lattice="hexagonal"):
    """A train, a val and a test slide of 576 spots with smooth values."""
    generator = np.random.default_rng(seed)
    row = np.repeat(np.arange(SIDE), SIDE)
    col = np.tile(np.arange(SIDE), SIDE)
    if lattice == "hexagonal":
        col = 2 * col + row % 2
    shape = (3 * row.size, GENES)
    values = np.linspace(5, 12, GENES) + generator.normal(0, 1.5, shape)
    kept = generator.random(shape) < measured
    labels = np.repeat(["a", "b", "c"], row.size)
    return Ground(
        measured=kept,
        values=np.where(kept, values, 0).astype(np.float32),
        split=np.repeat(["train", "val", "test"], row.size),
        slide=labels,
        array_row=np.tile(row, 3).astype(np.int32),
        array_col=np.tile(col, 3).astype(np.int32),
        lattice=lattice,
    )


@pytest.fixture(scope="module")
def ground():
    return make_ground()


def draw(name, ground, fraction, seed=1):
    return ALL[name](ground, fraction, np.random.default_rng(seed))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_the_share_of_measured_entries_of_each_scored_slide(name, fraction, ground):
    hidden = draw(name, ground, fraction)
    assert not hidden[~ground.measured].any()
    assert not hidden[ground.split == "train"].any()
    for rows in ground.slides("val", "test"):
        share = hidden[rows].sum() / ground.measured[rows].sum()
        assert share == pytest.approx(fraction, abs=0.04)


@pytest.mark.parametrize("name", ALL)
def test_a_larger_share_contains_a_smaller_one(name, ground):
    small, large = draw(name, ground, 0.1), draw(name, ground, 0.5)
    assert not (small & ~large).any()
    assert large.sum() > small.sum() > 0


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides(name, ground):
    assert np.array_equal(draw(name, ground, 0.3), draw(name, ground, 0.3))
    assert not np.array_equal(draw(name, ground, 0.3), draw(name, ground, 0.3, seed=2))


@pytest.mark.parametrize("name", ["spots", "blocks"])
def test_a_spot_is_hidden_whole_or_not_at_all(name, ground):
    hidden = draw(name, ground, 0.3)
    touched = hidden.any(axis=1)
    assert touched.any()
    assert np.array_equal(hidden[touched], ground.measured[touched])


@pytest.mark.parametrize("lattice", ["hexagonal", "square"])
def test_blocks_are_balls_of_two_hops(lattice):
    ground = make_ground(lattice=lattice, measured=1.0)
    hidden = draw("blocks", ground, 0.02)
    for rows in ground.slides("val", "test"):
        inside = hidden[rows].any(axis=1)
        # The share of 576 spots is fewer spots than one block has, so one block is hidden.
        distance = hops_between(ground, rows)
        is_ball = [np.array_equal(inside, distance[i] <= 2) for i in np.flatnonzero(inside)]
        assert sum(is_ball) == 1


def hops_between(ground, rows):
    """Return lattice steps between all spots of a slide, on lattices drawn by hand."""
    row, col = ground.array_row[rows], ground.array_col[rows]
    rows_apart = np.abs(row[:, None] - row)
    cols_apart = np.abs(col[:, None] - col)
    if ground.lattice == "square":
        return rows_apart + cols_apart
    return rows_apart + np.maximum(cols_apart - rows_apart, 0) // 2


def test_blocks_are_more_contiguous_than_spots(ground):
    whole = replace(ground, measured=np.ones_like(ground.measured))
    distance = hops_between(whole, whole.slides("test")[0])
    shares = {}
    for name in ("spots", "blocks"):
        inside = draw(name, whole, 0.3)[whole.split == "test"].any(axis=1)
        pairs = (distance == 1) & inside[:, None]
        shares[name] = (pairs & inside).sum() / pairs.sum()
    assert shares["spots"] == pytest.approx(0.3, abs=0.06)
    assert shares["blocks"] > 0.6


def test_a_gene_region_is_a_half_of_the_slide_beyond_a_straight_line(ground):
    whole = replace(ground, measured=np.ones_like(ground.measured))
    hidden = draw("gene_region", whole, 0.3)
    for rows in whole.slides("val", "test"):
        inside = hidden[rows]
        touched = inside.any(axis=0)
        assert touched.sum() == round(2 * 0.3 * GENES)
        assert np.allclose(inside[:, touched].mean(axis=0), 0.5, atol=0.03)
        places = whole.plane(rows)
        for gene in np.flatnonzero(touched):
            assert separated_by_a_line(places, inside[:, gene])
    directions = {inside[:, gene].tobytes() for gene in np.flatnonzero(touched)}
    assert len(directions) > 10


def separated_by_a_line(places, inside):
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    distance = places @ np.stack([np.cos(angles), np.sin(angles)])
    # A direction on a grid of half degrees misjudges spots within half a pitch of the line.
    return (distance[inside].min(axis=0) > distance[~inside].max(axis=0) - 0.5).any()


def test_low_values_are_hidden_more_often(ground):
    missing_like_counts = thinned_by_value(ground)
    hidden = draw("low_values", missing_like_counts, 0.3)
    eligible = missing_like_counts.eligible
    values = missing_like_counts.values[eligible]
    edges = np.quantile(values, np.linspace(0, 1, 6))
    shares = [
        hidden[eligible][(values >= low) & (values <= high)].mean() for low, high in pairwise(edges)
    ]
    assert np.all(np.diff(shares) < 0)
    assert shares[0] > 1.5 * shares[-1]


def thinned_by_value(ground, slope=0.6):
    """Return the ground with entries missing by a known curve of the gene's level."""
    generator = np.random.default_rng(5)
    levels = np.linspace(5, 12, GENES)
    found = generator.random(ground.measured.shape) > expit(-slope * (levels - 8))
    values = np.where(found, levels, 0).astype(np.float32)
    return replace(ground, measured=found, values=values)


def test_the_dropout_curve_of_train_slides_is_found_again(ground):
    # Values are those of their gene, so log2 of the mean TPM is the level less what is missing:
    # the curve in terms of that mean is flatter than the one that was drawn from, never rising.
    thinned = thinned_by_value(ground)
    train = thinned.split == "train"
    level = np.log2(1 + thinned.measured[train].mean(axis=0) * (2 ** np.linspace(5, 12, GENES) - 1))
    odds = -0.6 * (np.linspace(5, 12, GENES) - 8)
    expected = -np.polyfit(level, odds, 1)[0]
    assert low_values.dropout_slope(thinned) == pytest.approx(expected, rel=0.15)
    scored = thinned.measured.copy()
    scored[~train] = True
    assert low_values.dropout_slope(replace(thinned, measured=scored)) == pytest.approx(
        low_values.dropout_slope(thinned)
    )


def test_without_a_falling_curve_low_values_are_random_entries(ground):
    generator = np.random.default_rng(3)
    rising = generator.random(ground.measured.shape) < np.linspace(0.95, 0.2, GENES)
    levels = np.linspace(5, 30, GENES)
    values = np.where(rising, levels, 0).astype(np.float32)
    changed = replace(ground, measured=rising, values=values)
    assert low_values.dropout_slope(changed) == 0
    hidden = draw("low_values", changed, 0.3)
    low, high = hidden[:, : GENES // 2], hidden[:, GENES // 2 :]
    scored = changed.eligible
    assert low.sum() / scored[:, : GENES // 2].sum() == pytest.approx(0.3, abs=0.02)
    assert high.sum() / scored[:, GENES // 2 :].sum() == pytest.approx(0.3, abs=0.02)
