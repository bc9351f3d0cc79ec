"""Neighbours as the released SpaCKLE finds them: nearest in the plane, whatever the slide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from spared_benchmark.completion.visible import Visible
from spared_benchmark.study import Lattice

# Columns and rows to a plane in which the nearest spots are 1 apart. The released code reads pixel
# coordinates, which differ by scale, rotation and the slide's place in its image.
_UNIT: dict[Lattice, tuple[float, float]] = {
    "hexagonal": (0.5, 0.75**0.5),
    "square": (1.0, 1.0),
    "diamond": (0.5**0.5, 0.5**0.5),
}


def nearest_spots(given: Visible, count: int) -> NDArray[np.int64]:
    """Return the spots nearest to each, on any slide: slides lie on top of one another.

    Args:
        given: Spots of one or more slides.
        count: How many; all others where there are fewer.

    Returns:
        Rows ``(n_spots, min(count, n_spots - 1))``, nearest first.
    """
    across, down = _UNIT[given.lattice]
    places = np.column_stack([given.array_col * across, given.array_row * down])
    count = min(count, given.n_spots - 1)
    found = np.asarray(KDTree(places).query(places, k=np.arange(1, count + 2))[1])
    own = found == np.arange(given.n_spots)[:, None]
    # Spots of other slides at the same place may come before the spot itself, or crowd it out.
    own[~own.any(axis=1), -1] = True
    others: NDArray[np.int64] = found[~own].reshape(given.n_spots, count)
    return others
