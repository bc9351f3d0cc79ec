"""Slides cut into sections that are processed alone, as whole-slide models need it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Sections of the published code with fewer spots are merged into another.
_FEWEST = 5


def tiles_of(xy_um: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Return the section of each spot ``(n_spots,)``, numbered from 0 without gaps.

    The distinct columns and the distinct rows of spots are each cut into ``n`` blocks of equal
    number (Ruiz et al. 2025: 4, 9 and 16 sections). A section of fewer than five spots joins the
    one whose centre is nearest; the published code takes the one of the next number, which need
    not lie beside it.

    Args:
        xy_um: Place of the spots of one slide ``(n_spots, 2)``.
        n: Blocks along each side.
    """
    blocks = [_ranks(xy_um[:, axis]) * n // (_ranks(xy_um[:, axis]).max() + 1) for axis in (0, 1)]
    section = np.unique(blocks[1] * n + blocks[0], return_inverse=True)[1].reshape(-1)
    while True:
        sizes = np.bincount(section)
        smallest = int(sizes.argmin())
        if len(sizes) == 1 or sizes[smallest] >= _FEWEST:
            return section.astype(np.int64)
        section = _joined(section, smallest, xy_um)


def _ranks(values: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _joined(
    section: NDArray[np.int64], lonely: int, xy_um: NDArray[np.float32]
) -> NDArray[np.int64]:
    sizes = np.bincount(section)[:, None]
    centres = np.stack([np.bincount(section, weights=xy_um[:, axis]) for axis in (0, 1)], 1) / sizes
    distance = np.square(centres - centres[lonely]).sum(axis=1)
    distance[lonely] = np.inf
    merged = np.where(section == lonely, distance.argmin(), section)
    return np.unique(merged, return_inverse=True)[1].reshape(-1)
