"""The physical size of a pixel, from the known distance of neighbouring spots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import InputError
from spared_benchmark.study import Lattice

# One offset (row, column) of each pair of opposite neighbours; all are one pitch long.
_OFFSETS: dict[str, tuple[tuple[int, int], ...]] = {
    "hexagonal": ((0, 2), (1, 1), (1, -1)),
    "square": ((0, 1), (1, 0)),
    "diamond": ((1, 1), (1, -1)),
}
_TOLERANCE = 0.25
_ALLOWED_OUTSIDE = 0.05


def pitch_in_pixels(
    array_row: NDArray[np.integer],
    array_col: NDArray[np.integer],
    positions: NDArray[np.float64],
    lattice: Lattice,
    where: str,
) -> float:
    """Return the median distance of neighbouring spots, in the unit of ``positions``.

    Args:
        array_row: Lattice row, ``(n_spots,)``.
        array_col: Lattice column, ``(n_spots,)``.
        positions: Spot centres (x, y), ``(n_spots, 2)``.
        lattice: Says which spots are neighbours.
        where: The place that an error names.

    Raises:
        InputError: When no two spots are neighbours, or the distances of neighbours differ so
            much that lattice and positions cannot belong together.
    """
    distances = _neighbour_distances(array_row, array_col, positions, lattice)
    if not distances.size:
        msg = (
            f"{where}: array coordinates: no two of the {len(array_row)} spots are neighbours on "
            f"a {lattice} lattice; at least one pair is needed to learn the scale. "
            "Check the cohort's 'lattice' and the position file"
        )
        raise InputError(msg)
    pitch = float(np.median(distances))
    astray = float(np.mean(np.abs(distances - pitch) > _TOLERANCE * pitch))
    if pitch <= 0 or astray > _ALLOWED_OUTSIDE:
        msg = (
            f"{where}: array and pixel coordinates do not belong together: {astray:.0%} of the "
            f"distances between neighbours on a {lattice} lattice differ by more than "
            f"{_TOLERANCE:.0%} from their median ({pitch:.1f} px); at most "
            f"{_ALLOWED_OUTSIDE:.0%} may. Check the cohort's 'lattice', whether rows and columns "
            "(or x and y) are swapped, and whether the positions are those of this slide"
        )
        raise InputError(msg)
    return pitch


def _neighbour_distances(
    array_row: NDArray[np.integer],
    array_col: NDArray[np.integer],
    positions: NDArray[np.float64],
    lattice: Lattice,
) -> NDArray[np.float64]:
    row = np.asarray(array_row, dtype=np.int64)
    col = np.asarray(array_col, dtype=np.int64)
    row, col = row - row.min() + 2, col - col.min() + 2
    width = int(col.max()) + 3
    key = row * width + col
    order = np.argsort(key)
    found = []
    for d_row, d_col in _OFFSETS[lattice]:
        wanted = key + d_row * width + d_col
        slot = np.minimum(np.searchsorted(key, wanted, sorter=order), len(key) - 1)
        other = order[slot]
        pair = key[other] == wanted
        found.append(np.linalg.norm(positions[pair] - positions[other[pair]], axis=1))
    return np.concatenate(found)
