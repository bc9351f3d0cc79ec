"""Moran's I and gene–gene correlations over known entries, against loops."""

from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.completion.structure_metrics import KnownEntries, TrueStructure
from spared_benchmark.expression.moran import morans_i
from spared_benchmark.tissue.lattice import neighbour_table

SPOTS, GENES = 30, 5


@pytest.fixture
def neighbours():
    row, col = np.divmod(np.arange(SPOTS), 6)
    return neighbour_table(row, col, np.zeros(SPOTS), "square", 1)


@pytest.fixture
def values():
    generator = np.random.default_rng(0)
    smooth = np.sin(np.arange(SPOTS) / 4)[:, None] * np.linspace(-2, 2, GENES)
    return (8 + smooth + generator.normal(0, 0.6, (SPOTS, GENES))).astype(np.float32)


@pytest.fixture
def known():
    return np.random.default_rng(1).random((SPOTS, GENES)) < 0.7


def moran_by_hand(values, known, neighbours):
    index = []
    for gene in range(GENES):
        inside = np.flatnonzero(known[:, gene])
        z = {i: float(values[i, gene]) - values[inside, gene].astype(float).mean() for i in inside}
        total, connected = 0.0, 0
        for i in inside:
            near = [z[j] for j in neighbours[i] if j >= 0 and j in z]
            if near:
                connected += 1
                total += z[i] * sum(near) / len(near)
        index.append(len(inside) / connected * total / sum(one**2 for one in z.values()))
    return np.array(index)


def test_moran_takes_known_neighbours_only(values, known, neighbours):
    blind = np.where(known, values, 1e6).astype(np.float32)
    found = KnownEntries(known, neighbours).moran(blind)
    np.testing.assert_allclose(found, moran_by_hand(values, known, neighbours), rtol=1e-5)


def test_moran_of_whole_slides_is_that_which_ranks_genes(values, neighbours):
    whole = np.ones((SPOTS, GENES), dtype=bool)
    found = KnownEntries(whole, neighbours).moran(values)
    np.testing.assert_allclose(found, morans_i(values, neighbours), rtol=1e-6)


def test_correlations_take_spots_in_which_both_genes_are_known(values, known, neighbours):
    blind = np.where(known, values, np.float32(-50))
    found = KnownEntries(known, neighbours).correlation(blind)
    for first in range(GENES):
        for second in range(GENES):
            both = known[:, first] & known[:, second]
            expected = np.corrcoef(values[both, first], values[both, second])[0, 1]
            assert found[first, second] == pytest.approx(expected, rel=1e-4)


def test_what_is_undefined_is_nan(values, neighbours):
    known = np.ones((SPOTS, GENES), dtype=bool)
    known[2:, 0] = False  # two spots: too few for a correlation
    known[:, 1] = False
    values[:, 2] = 7.3
    entries = KnownEntries(known, neighbours)
    assert np.isnan(entries.moran(values)).tolist() == [False, True, True, False, False]
    correlation = entries.correlation(values)
    assert np.isnan(correlation[:3]).all()
    assert np.isfinite(correlation[3:, 3:]).all()


def test_errors_are_mean_absolute_differences_where_something_was_hidden(values, known, neighbours):
    entries = KnownEntries(known, neighbours)
    changed = values.copy()
    changed[::3, 1] += 2
    changed[1::3, 3] -= 1
    touched = np.array([False, True, False, True, False])
    errors = TrueStructure(entries, values).errors(changed, touched)
    moran = np.abs(entries.moran(changed) - entries.moran(values))[touched]
    assert errors["moran_error"] == (pytest.approx(moran.mean()), 2)
    apart = np.abs(entries.correlation(changed) - entries.correlation(values))
    pairs = [(i, j) for i in range(GENES) for j in range(i) if touched[i] or touched[j]]
    mean = np.mean([apart[pair] for pair in pairs])
    assert errors["correlation_error"] == (pytest.approx(mean), len(pairs))
    assert TrueStructure(entries, values).errors(values, touched)["moran_error"][0] == 0


def test_without_a_hidden_entry_there_is_no_error(values, known, neighbours):
    structure = TrueStructure(KnownEntries(known, neighbours), values)
    errors = structure.errors(values, np.zeros(GENES, dtype=bool))
    assert all(np.isnan(value) and count == 0 for value, count in errors.values())
