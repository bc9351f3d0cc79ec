"""What lies around each spot, in coordinates that turning or mirroring the slide leaves alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.floating[Any]]

# As many spots of a hexagonal or square lattice may lie equally far.
_TIES = 12
# Places on a lattice are float32 and its distances differ by far more; so do directions.
_RESOLUTION = 1e-4


@dataclass(frozen=True)
class Surroundings:
    """The spots nearest to each spot of a slide, itself first.

    Attributes:
        rows: Their rows, int64 ``(n_spots, k + 14)``; −1 where there is none.
        offset: From the spot, along the axes of its frame, in steps of the lattice, float32
            ``(n_spots, k + 14, 2)``. A frame's axes have no sign: what is computed of an offset
            must be averaged over the four.
    """

    rows: NDArray[np.int64]
    offset: NDArray[np.float32]


def surroundings(xy_um: Floats, k: int) -> Surroundings:
    """Find the ``k`` nearest spots of each, and all that lie as far as the last of them.

    A lattice has many spots at one distance; choosing among them would depend on their order.

    The axes of a frame are the principal ones of these offsets. Where they have none, as in the
    midst of a lattice, they are those of the slide, and of a square slide those of its array: an
    eigenvector would be a matter of rounding.

    Args:
        xy_um: Places of one slide's spots ``(n_spots, 2)``.
        k: How many.
    """
    places = np.asarray(xy_um, dtype=np.float64)
    n_spots, own = len(places), np.arange(len(places))[:, None]
    asked = min(n_spots, k + 1 + _TIES)
    distance, found = (
        np.asarray(values) for values in cKDTree(places).query(places, list(range(1, asked + 1)))
    )
    furthest = distance[:, [min(k, asked - 1)]] * (1 + _RESOLUTION)
    rows = np.full((n_spots, k + 2 + _TIES), -1, dtype=np.int64)
    rows[:, 1 : asked + 1] = np.where((distance <= furthest) & (found != own), found, -1)
    rows[:, :1] = own
    known = (rows >= 0)[:, :, None]
    offset = np.where(known, places[rows] - places[:, None], 0.0)
    apart = distance[distance > 0]
    step = float(apart.min()) if len(apart) else 1.0
    angle = _major_axis(offset, _major_axis((places - places.mean(axis=0))[None], np.zeros(1)))
    return Surroundings(rows, (_turned(offset, angle) / step).astype(np.float32))


def _major_axis(offset: Floats, otherwise: Floats) -> NDArray[np.float64]:
    """Return the angle of the largest variance about 0 ``(n,)`` of ``offset`` ``(n, k, 2)``.

    Args:
        offset: Vectors.
        otherwise: The angle where all directions vary alike.
    """
    xx, yy = np.square(offset).sum(axis=1).T
    xy = (offset[:, :, 0] * offset[:, :, 1]).sum(axis=1)
    alike = np.hypot(2 * xy, xx - yy) <= _RESOLUTION * (xx + yy)
    angle: NDArray[np.float64] = np.where(alike, otherwise, np.arctan2(2 * xy, xx - yy) / 2)
    return angle


def _turned(offset: Floats, angle: Floats) -> Floats:
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = offset[:, :, 0], offset[:, :, 1]
    return np.stack([cos * x + sin * y, cos * y - sin * x], axis=2)
