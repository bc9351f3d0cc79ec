"""Patches are resized, turned and normalised as they should be."""

import numpy as np
import torch

from spared_benchmark.prediction.images import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    dihedral,
    normalised,
    resized,
)
from spared_benchmark.prediction.types import Patches


def patches(array, rows=None):
    return Patches(array, np.arange(len(array)) if rows is None else np.array(rows))


def test_a_patch_of_the_right_size_is_untouched_and_rows_choose():
    array = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    chosen = resized(patches(array, [4, 1]), 2, 8)
    np.testing.assert_array_equal(chosen.numpy(), array[[4, 1]])


def test_resizing_averages_instead_of_picking_pixels():
    # A fine checkerboard: without antialiasing some pixels of the result would be black or white.
    board = np.indices((32, 32)).sum(axis=0) % 2 * 255
    array = np.repeat(board[None, :, :, None], 3, axis=3).astype(np.uint8)
    small = resized(patches(array), 1, 8).float()
    assert small.shape == (1, 8, 8, 3)
    assert (small - 127.5).abs().max() < 8


def test_resizing_commutes_with_flips_and_turns():
    array = np.random.default_rng(0).integers(0, 256, (8, 20, 20, 3), dtype=np.uint8)
    views = torch.arange(8)
    pixels = torch.from_numpy(array).permute(0, 3, 1, 2)
    turned = dihedral(pixels, views).permute(0, 2, 3, 1).contiguous().numpy()
    late = dihedral(resized(patches(array), 8, 12).permute(0, 3, 1, 2), views)
    early = resized(patches(turned), 8, 12).permute(0, 3, 1, 2)
    assert (early.int() - late.int()).abs().max() <= 1  # rounding only


def test_resizing_in_chunks_changes_nothing(monkeypatch):
    array = np.random.default_rng(0).integers(0, 256, (7, 10, 10, 3), dtype=np.uint8)
    whole = resized(patches(array), 7, 4)
    monkeypatch.setattr("spared_benchmark.prediction.images._CHUNK_PIXELS", 200)
    assert torch.equal(resized(patches(array), 7, 4), whole)


def test_the_eight_views_are_the_symmetries_of_the_square():
    patch = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3).expand(8, 3, 3, 3)
    views = dihedral(patch, torch.arange(8))
    assert torch.equal(views[0], patch[0])
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8
    turned = torch.rot90(patch[0], 1, (1, 2))
    assert any(torch.equal(view, turned) for view in views)


def test_normalisation_is_that_of_imagenet():
    pixels = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    pixels[:, 0] = 255
    values = normalised(pixels)[0, :, 0, 0]
    expected = [(1 - IMAGENET_MEAN[0]) / IMAGENET_STD[0]]
    expected += [-IMAGENET_MEAN[i] / IMAGENET_STD[i] for i in (1, 2)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
