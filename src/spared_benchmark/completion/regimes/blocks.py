"""Whole neighbourhoods: every spot within two hops of random centres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.regimes.ground import Ground
from spared_benchmark.tissue.lattice import neighbour_table

HOPS = 2


def hidden(ground: Ground, fraction: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return the hidden entries ``(n_spots, n_genes)``; a larger share contains a smaller one.

    Centres are drawn one after another, spots hidden before included, until the share of the
    slide's measured entries is reached; the last block exceeds it by some spots. A block has 19
    spots on a hexagonal lattice and 13 on the others, fewer at a border.
    """
    eligible = ground.eligible
    withheld = np.zeros(ground.slide.size, dtype=bool)
    for rows in ground.slides("val", "test"):
        order = _covered_by(ground, rows, generator.permutation(rows.size))
        entries = eligible[rows].sum(axis=1)
        covered = np.bincount(order, weights=entries, minlength=rows.size).cumsum()
        last = int(np.searchsorted(covered, fraction * covered[-1]))
        withheld[rows] = order <= last
    return eligible & withheld[:, None]


def _covered_by(
    ground: Ground, rows: NDArray[np.intp], drawn: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return which centre, by order of drawing, first covers each spot ``(n_rows,)``."""
    place = np.empty_like(drawn)
    place[drawn] = np.arange(drawn.size)
    at = ground.array_row[rows], ground.array_col[rows]
    table = neighbour_table(*at, np.zeros(rows.size, np.int32), ground.lattice, HOPS)
    nearby = np.where(table >= 0, place[table], rows.size)
    first: NDArray[np.intp] = np.minimum(place, nearby.min(axis=1))
    return first
