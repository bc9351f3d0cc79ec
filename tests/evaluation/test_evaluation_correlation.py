from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.evaluation.correlation import correlation, partial_correlation


def test_hand_computed_correlation():
    first = np.array([[1.0, 9.0], [2.0, 9.0], [3.0, 1.0], [100.0, 5.0]])
    second = np.array([[2.0, 1.0], [4.0, 2.0], [6.0, 3.0], [-100.0, 4.0]])
    entries = np.array([[True, False], [True, False], [True, True], [False, False]])
    per_gene = correlation(first, second, entries, axis=0)
    assert per_gene[0] == pytest.approx(1)
    assert np.isnan(per_gene[1])
    per_spot = correlation(first, second, entries, axis=1)
    assert per_spot[2] == pytest.approx(1)
    assert np.isnan(per_spot[[0, 1, 3]]).all()


def test_rounding_of_a_constant_is_no_variation():
    values = np.full((50, 1), 0.1, dtype=np.float32)
    values[::2] += 1e-8
    other = np.random.default_rng(0).normal(size=(50, 1))
    assert np.isnan(correlation(values, other, np.ones((50, 1), dtype=bool), axis=0)[0])


def test_partial_correlation_is_that_of_the_residuals():
    generator = np.random.default_rng(1)
    given = generator.normal(size=200)
    first = generator.normal(size=(200, 3)) + given[:, None]
    second = 0.5 * first + generator.normal(size=(200, 3)) - given[:, None]
    entries = generator.random((200, 3)) < 0.6
    found = partial_correlation(first, second, given, entries)
    for gene in range(3):
        inside = entries[:, gene]
        covariate = given[inside]
        residuals = []
        for values in (first[inside, gene], second[inside, gene]):
            slope, shift = np.polyfit(covariate, values, 1)
            residuals.append(values - slope * covariate - shift)
        assert found[gene] == pytest.approx(np.corrcoef(*residuals)[0, 1])


def test_what_the_covariate_explains_wholly_is_undefined():
    given = np.arange(10.0)
    other = np.random.default_rng(2).normal(size=(10, 1))
    found = partial_correlation(given[:, None] * 3, other, given, np.ones((10, 1), dtype=bool))
    assert np.isnan(found[0])


def test_a_covariate_of_each_entry_is_removed_gene_by_gene():
    generator = np.random.default_rng(4)
    first, second, given = generator.normal(size=(3, 40, 2))
    entries = np.ones((40, 2), dtype=bool)
    found = partial_correlation(first, second, given, entries)
    for gene in range(2):
        column = slice(gene, gene + 1)
        alone = partial_correlation(
            first[:, column], second[:, column], given[:, gene], entries[:, column]
        )
        assert found[gene] == pytest.approx(alone[0])


def test_three_entries_have_no_partial_correlation():
    first, second, given = np.random.default_rng(5).normal(size=(3, 4, 1))
    entries = np.array([[True], [True], [True], [False]])
    assert np.isnan(partial_correlation(first, second, given, entries)[0])
    assert np.isfinite(partial_correlation(first, second, given, ~entries | entries)[0])


def test_a_constant_covariate_removes_nothing():
    generator = np.random.default_rng(3)
    first, second = generator.normal(size=(2, 30, 4))
    entries = np.ones((30, 4), dtype=bool)
    np.testing.assert_allclose(
        partial_correlation(first, second, np.full(30, 7.0), entries),
        correlation(first, second, entries, axis=0),
    )
