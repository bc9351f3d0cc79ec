"""Patches on the device: resized once, then normalised and augmented per sample and step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from spared_benchmark.prediction.types import Patches

# Channel means and deviations of ImageNet, on the scale 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
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


def dihedral(pixels: Tensor, view: Tensor) -> Tensor:
    """Return each patch in one of its eight symmetric views.

    Args:
        pixels: ``(n, 3, side, side)``.
        view: 0 to 7 for each patch, ``(n,)``; 0 is the patch itself. A uniform draw is the
            distribution of independent horizontal flip, vertical flip and quarter turn, each
            with probability one half.
    """
    across, down, swapped = (((view >> bit) & 1).bool()[:, None, None, None] for bit in range(3))
    pixels = torch.where(across, pixels.flip(-1), pixels)
    pixels = torch.where(down, pixels.flip(-2), pixels)
    return torch.where(swapped, pixels.transpose(-1, -2), pixels)


def normalised(
    pixels: Tensor,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Tensor:
    """Return uint8 pixels ``(n, 3, side, side)`` as float32 with ``mean`` and ``std`` removed."""
    shift = torch.tensor(mean, device=pixels.device)[:, None, None]
    scale = torch.tensor(std, device=pixels.device)[:, None, None]
    return (pixels.float() / 255 - shift) / scale
