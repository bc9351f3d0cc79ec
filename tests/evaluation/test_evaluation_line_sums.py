"""Sums in one pass must be those of two passes, however far values lie from zero."""

import numpy as np
import pytest

from spared_benchmark.evaluation.correlation import correlation
from spared_benchmark.evaluation.line_sums import line_sums


def drawn(seed=0, spots=700, genes=9):
    generator = np.random.default_rng(seed)
    truth = generator.normal(7, 2, (spots, genes))
    prediction = truth + generator.normal(0, 1, (spots, genes))
    return truth, prediction, generator.random((spots, genes)) < 0.7


def two_slides(spots):
    codes = np.random.default_rng(5).integers(0, 2, spots)
    return [np.flatnonzero(codes == code) for code in (0, 1)]


def assert_two_pass(truth, prediction, entries, slides):
    for rows, found in zip(slides, line_sums(truth, prediction, entries, slides), strict=True):
        for axis, lines in enumerate(found):
            inside = entries[rows]
            values = [part[rows].astype(np.float64) for part in (truth, prediction)]
            expected = correlation(*values, inside, axis)
            assert np.array_equal(np.isnan(lines.pcc()), np.isnan(expected))
            np.testing.assert_allclose(lines.pcc(), expected, rtol=1e-9, atol=1e-12)
            error = np.where(inside, values[0] - values[1], 0)
            np.testing.assert_allclose(lines.squared, (error**2).sum(axis), rtol=1e-9)
            np.testing.assert_allclose(lines.absolute, np.abs(error).sum(axis), rtol=1e-9)
            assert np.array_equal(lines.count, inside.sum(axis))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_slides_whose_spots_stand_apart(dtype):
    truth, prediction, entries = drawn()
    slides = two_slides(len(truth))
    assert_two_pass(truth.astype(dtype), prediction.astype(dtype), entries, slides)


def test_genes_far_from_one_another_keep_their_digits():
    truth, prediction, entries = drawn(1)
    offset = np.array([0, 1e3, -1e5, 1e6, 0, 0, 0, 3, 1e4])
    assert_two_pass(truth + offset, prediction + offset, entries, two_slides(len(truth)))


def test_constant_lines_and_small_variation_are_told_apart():
    truth, prediction, entries = drawn(2)
    prediction[:, 0] = 3.3
    truth[:, 1] = 1e-9
    truth[:, 2] = 5 + 1e-4 * truth[:, 2]
    prediction[11] = 3.3
    slides = two_slides(len(truth))
    assert_two_pass(truth, prediction, entries, slides)
    by_gene, by_spot = line_sums(truth, prediction, entries, [np.arange(len(truth))])[0]
    assert np.isnan(by_gene.pcc()).tolist() == [True, True] + [False] * 7
    assert np.isnan(by_gene.r2()).tolist() == [False, True] + [False] * 7
    assert np.isnan(by_spot.pcc()[11])
    assert np.isfinite(by_spot.r2()[11])


def test_threads_do_not_change_a_digit(monkeypatch):
    truth, prediction, entries = drawn(3, spots=3000, genes=200)
    slides = two_slides(len(truth))
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        sums = line_sums(truth, prediction, entries, slides)
        found.append([lines.pcc() for both in sums for lines in both])
    assert all(np.array_equal(*pair) for pair in zip(*found, strict=True))
