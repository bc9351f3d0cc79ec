"""Patches on the device: resized once, then normalised and augmented per sample and step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from spared_benchmark.prediction.encoder_zoo import IMAGENET_MEAN, IMAGENET_STD
from spared_benchmark.prediction.types import Patches

_CHUNK_PIXELS = 1 << 24


def resized(patches: Patches, n_spots: int, side: int, device: str = "cpu") -> Tensor:
    """Return the patches of ``n_spots`` spots, uint8 ``(n_spots, side, side, 3)``.

    Bilinear with antialiasing. Flips and turns commute with it, so it is done once and not at
    every step.
    """
    result = torch.empty((n_spots, side, side, 3), dtype=torch.uint8, device=device)
    chunk = max(1, _CHUNK_PIXELS // max(patches.array.shape[1] ** 2, 1))
    for start in range(0, n_spots, chunk):
        stored = torch.from_numpy(patches.read(start, min(start + chunk, n_spots))).to(device)
        result[start : start + chunk] = _resize(stored, side)
    return result


def _resize(stored: Tensor, side: int) -> Tensor:
    if stored.shape[1:3] == (side, side):
        return stored
    pixels = stored.permute(0, 3, 1, 2).float()
    scaled = interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).byte().permute(0, 2, 3, 1)


def sub_tiles(stored: Tensor, side: int, n: int) -> Tensor:
    """Return each patch cut into ``n`` by ``n`` sub-tiles, row by row; 1 is the patch itself.

    The patch is resized as a whole, so nothing is lost where its pixels do not divide by ``n``.

    Args:
        stored: uint8 ``(n_patches, stored_side, stored_side, 3)``.
        side: Of a sub-tile, pixels.
        n: Sub-tiles along each side.

    Returns:
        uint8 ``(n_patches * n * n, 3, side, side)``, those of one patch together.
    """
    whole = _resize(stored, n * side).reshape(len(stored), n, side, n, side, 3)
    return whole.permute(0, 1, 3, 5, 2, 4).reshape(-1, 3, side, side)


def dihedral(pixels: Tensor, view: Tensor) -> Tensor:
    """Return each patch in one of its eight symmetric views.

    Args:
        pixels: ``(n, 3, side, side)``.
        view: 0 to 7 for each patch ``(n,)``, or one for all ``(1,)``, on the CPU; 0 is the patch
            itself. A uniform draw is the distribution of independent horizontal flip, vertical
            flip and quarter turn, each with probability one half.
    """
    if len(view) == 1:
        return _turned(pixels, int(view))
    # View by view, because choosing between turned copies of everything moves eight times as much.
    turned = torch.empty_like(pixels, memory_format=torch.contiguous_format)
    for number in range(8):
        rows = torch.nonzero(view == number).flatten().to(pixels.device)
        turned[rows] = _turned(pixels[rows], number)
    return turned


def _turned(pixels: Tensor, view: int) -> Tensor:
    flipped = [axis for bit, axis in ((0, -1), (1, -2)) if view >> bit & 1]
    pixels = pixels.flip(flipped) if flipped else pixels
    return pixels.transpose(-1, -2) if view & 4 else pixels


def normalised(
    pixels: Tensor,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Tensor:
    """Return uint8 pixels ``(n, 3, side, side)`` as float32 with ``mean`` and ``std`` removed."""
    shift = torch.tensor(mean, device=pixels.device)[:, None, None]
    scale = torch.tensor(std, device=pixels.device)[:, None, None]
    # In place: each copy of a batch costs as much as the arithmetic.
    return pixels.float().mul_(1 / (255 * scale)).sub_(shift / scale)
