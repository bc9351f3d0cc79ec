"""Closed forms against numbers worked out by hand on one row of three spots."""

from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.completion import completers
from spared_benchmark.completion.closed_form import neighbour_sums, slide_means, train_means
from spared_benchmark.completion.visible import Selection, Visible


def row_of_spots(values, slide=0):
    """Spots side by side on a square lattice; 0 is not visible."""
    matrix = np.array(values, dtype=np.float32)
    count = len(matrix)
    return Visible(
        values=matrix,
        visible=matrix != 0,
        slide=np.full(count, slide, dtype=np.int32),
        array_row=np.zeros(count, dtype=np.int32),
        array_col=np.arange(count, dtype=np.int32),
        lattice="square",
        library_size=np.where((matrix != 0).any(axis=1), 100, np.nan).astype(np.float32),
        genes=tuple("ab"[: matrix.shape[1]]),
    )


def fitted(name, train, **settings):
    completer = completers.create(name, **settings)
    nothing = np.zeros(train.values.shape, dtype=bool)
    selection = Selection(train, nothing, np.zeros_like(train.values))
    completer.fit(train, selection, None)
    return completer


TRAIN = row_of_spots([[2, 10], [4, 0], [6, 14]])  # means 4 and 12
SLIDE = row_of_spots([[1, 0], [0, 20], [3, 0]])


def test_train_means_are_over_visible_entries():
    assert train_means(TRAIN).tolist() == [4, 12]
    # A gene nowhere visible gets the mean of all that is visible.
    assert train_means(row_of_spots([[2, 0], [4, 0]])).tolist() == [3, 3]
    assert train_means(row_of_spots([[0, 0], [0, 0]])).tolist() == [0, 0]


def test_slide_means_shrink_to_the_prior():
    means = slide_means(SLIDE, np.array([4.0, 12.0]), weight=5)
    assert means[0] == pytest.approx([(4 + 5 * 4) / 7, (20 + 5 * 12) / 6])
    assert (means == means[0]).all()


def test_neighbour_sums_leave_out_padding_and_the_spot_itself():
    table = np.array([[1, -1], [0, 2], [1, -1]], dtype=np.int32)
    sums = neighbour_sums(np.array([[1.0], [10.0], [100.0]]), table)
    assert sums.ravel().tolist() == [10, 101, 10]


def test_zero():
    assert np.array_equal(fitted("zero", TRAIN).complete(SLIDE), SLIDE.values)


def test_gene_mean():
    assert fitted("gene_mean", TRAIN).complete(SLIDE).tolist() == [[1, 12], [4, 20], [3, 12]]


def test_slide_gene_mean():
    completed = fitted("slide_gene_mean", TRAIN).complete(SLIDE)
    np.testing.assert_allclose(completed, [[1, 80 / 6], [24 / 7, 20], [3, 80 / 6]], rtol=1e-6)


def test_neighbour_mean():
    completed = fitted("neighbour_mean", TRAIN, hops=1).complete(SLIDE)
    # Spot 0 sees 20 in spot 1, weighed like the train mean 12; spot 1 sees 1 and 3.
    np.testing.assert_allclose(completed, [[1, 16], [(1 + 3 + 4) / 3, 20], [3, 16]], rtol=1e-6)


def test_neighbour_mean_falls_back_to_the_train_mean():
    alone = row_of_spots([[0, 7]])
    assert fitted("neighbour_mean", TRAIN).complete(alone).tolist() == [[4, 7]]


def test_additive():
    completed = fitted("additive", TRAIN, hops=1).complete(SLIDE)
    mu = np.array([24 / 7, 80 / 6])
    offset = np.array([(1 - mu[0]) / 6, (20 - mu[1]) / 6, (3 - mu[0]) / 6])
    residual_of_1 = 20 - mu[1] - offset[1]
    residuals = [1 - mu[0] - offset[0], 3 - mu[0] - offset[2]]
    expected = [
        [1, mu[1] + offset[0] + residual_of_1 / (1 + 6)],
        [mu[0] + offset[1] + sum(residuals) / (2 + 6), 20],
        [3, mu[1] + offset[2] + residual_of_1 / (1 + 6)],
    ]
    np.testing.assert_allclose(completed, expected, rtol=1e-6)


def test_additive_with_infinite_weights_is_the_train_mean():
    weights = dict.fromkeys(("mean_weight", "offset_weight", "residual_weight"), 1e12)
    completed = fitted("additive", TRAIN, **weights).complete(SLIDE)
    np.testing.assert_allclose(completed, [[1, 12], [4, 20], [3, 12]], rtol=1e-6)


def test_shifting_a_gene_shifts_its_completion():
    shifted_train = row_of_spots([[2 + 9, 10], [4 + 9, 0], [6 + 9, 14]])
    shifted = row_of_spots([[1 + 9, 0], [0, 20], [3 + 9, 0]])
    for name in ("gene_mean", "slide_gene_mean", "neighbour_mean", "additive"):
        before = fitted(name, TRAIN).complete(SLIDE)
        after = fitted(name, shifted_train).complete(shifted)
        np.testing.assert_allclose(after[:, 0], before[:, 0] + 9, rtol=1e-6)
        np.testing.assert_allclose(after[:, 1], before[:, 1], rtol=1e-6)


def test_median_takes_the_first_window_that_is_not_zero():
    # Spot 1: its window of one hop is (5, 0, 9), median 5.
    slide = row_of_spots([[5, 1], [0, 1], [9, 1]])
    assert fitted("median", slide).complete(slide)[1].tolist() == [5, 1]


def test_median_falls_back_to_the_median_of_the_slide():
    slide = row_of_spots([[0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [8, 1]])
    # Every window has a majority of zeros; 8 is all that the slide shows.
    completed = fitted("median", slide, hops=1).complete(slide)
    assert completed[:, 0].tolist() == [8, 8, 8, 8, 8, 8, 8, 8]
