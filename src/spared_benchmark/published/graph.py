"""Neighbours as the published library finds them: nearest spots in pixels, not on the lattice.

At borders and holes the nearest spots reach into the second ring of the lattice, so the graph is
directed. The library reads rows of squidpy's matrix; what a row holds depends on squidpy's
version, and with it every median, Moran's I and neighbourhood.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.study import Lattice

# Of the median distance over all spots and their nearest ones: squidpy's limit on grids.
_GRID_REACH = 1.3


def pixel_graph(
    spatial: NDArray[np.floating], lattice: Lattice, squidpy: Literal["old", "new"]
) -> sparse.csr_matrix:
    """Return the neighbours of one slide's spots as squidpy's ``spatial_neighbors`` does.

    Hexagonal: the 6 nearest spots. Other lattices: those of the 8 nearest that are nearer than
    1.3 times the median of all these distances. Equal distances are resolved by scikit-learn's
    search, as in squidpy.

    Args:
        spatial: Spot centres, full-resolution pixels ``(n_spots, 2)``.
        lattice: How the spots lie.
        squidpy: ``new`` (1.4 and later): row i holds the neighbours of i. ``old``: row i holds
            the spots that have i for a neighbour.

    Returns:
        Boolean ``(n_spots, n_spots)``, sparse, columns ascending.

    Raises:
        ConfigurationError: For another value of ``squidpy``.
        InputError: When there are too few spots, or coordinates are not finite.
    """
    if squidpy not in ("old", "new"):
        msg = f"orientation of squidpy's graph: found {squidpy!r}; allowed: 'old', 'new'"
        raise ConfigurationError(msg)
    nearest = 6 if lattice == "hexagonal" else 8
    rows, columns, distances = _nearest_spots(np.asarray(spatial, dtype=np.float64), nearest)
    if lattice != "hexagonal":
        near = distances < _GRID_REACH * np.median(distances)
        rows, columns = rows[near], columns[near]
    if squidpy == "old":
        rows, columns = columns, rows
    spots = spatial.shape[0]
    ones = np.ones(rows.size, dtype=bool)
    graph = sparse.csr_matrix((ones, (rows, columns)), shape=(spots, spots))
    graph.sort_indices()
    return graph


def hop_tables(graph: sparse.csr_matrix, hops: int) -> list[NDArray[np.int32]]:
    """Return the neighbours within 1, 2, … ``hops`` hops of each spot.

    Those within h hops are the non-zero entries of A + A² + … + Aʰ, without the spot itself.

    Args:
        graph: A, see `pixel_graph`.
        hops: Largest number of hops, at least 1.

    Returns:
        For each number of hops int32 ``(n_spots, k)``: rows of the neighbours, ascending, then −1.

    Raises:
        ConfigurationError: When ``hops`` is less than 1.
    """
    if hops < 1:
        msg = f"hops of a published neighbourhood: found {hops}; give 1 or more"
        raise ConfigurationError(msg)
    # In 32-bit integers a walk count could overflow to zero; only its sign matters.
    step = graph.astype(np.int32)
    reached, walks = step, step
    tables = [_padded(reached)]
    for _ in range(hops - 1):
        walks = _pattern(walks @ step)
        reached = _pattern(reached + walks)
        tables.append(_padded(reached))
    return tables


def hop_neighbourhoods(graph: sparse.csr_matrix, hops: int) -> NDArray[np.int32]:
    """Return each spot followed by its neighbours within ``hops`` hops, int32 ``(n_spots, 1 + k)``.

    Args:
        graph: See `pixel_graph`.
        hops: At least 1.
    """
    table = hop_tables(graph, hops)[-1]
    itself = np.arange(table.shape[0], dtype=np.int32)[:, None]
    return np.concatenate([itself, table], axis=1)


def _nearest_spots(
    spatial: NDArray[np.float64], nearest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    from sklearn.neighbors import NearestNeighbors

    spots = spatial.shape[0]
    if spots <= nearest or not np.isfinite(spatial).all():
        bad = int(np.count_nonzero(~np.isfinite(spatial).all(axis=1)))
        msg = (
            f"the published neighbours of a slide: {nearest} nearest spots are taken, so more "
            f"than {nearest} spots with finite pixel coordinates are needed; found {spots} spots, "
            f"{bad} of them not finite. Leave the slide out or switch `published` off"
        )
        raise InputError(msg)
    search = NearestNeighbors(n_neighbors=nearest, metric="euclidean").fit(spatial)
    distances, columns = search.kneighbors()
    rows = np.repeat(np.arange(spots), nearest)
    return rows, columns.ravel(), distances.ravel()


def _pattern(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    counts.data[:] = 1
    return counts


def _padded(reached: sparse.csr_matrix) -> NDArray[np.int32]:
    pairs = reached.tocoo()
    other = pairs.row != pairs.col
    rows, columns = pairs.row[other], pairs.col[other]
    order = np.lexsort((columns, rows))
    rows, columns = rows[order], columns[order]
    degree = np.bincount(rows, minlength=reached.shape[0])
    place = np.arange(rows.size) - np.repeat(np.cumsum(degree) - degree, degree)
    table = np.full((reached.shape[0], int(degree.max(initial=0))), -1, dtype=np.int32)
    table[rows, place] = columns
    return table
