"""Neighbours of a spot by expression, within one slide, and the smoothers made of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from spared_benchmark.completion.residual import principal_scores

_Floats = NDArray[np.float64]

# Settings of the MAGIC package that its users rarely change.
MAGIC_COMPONENTS = 100
_MAGIC_LEAST_WEIGHT = 1e-4
_MAGIC_NEIGHBOURS_PER_KNN = 3


def nearest_spots(scores: _Floats, count: int) -> tuple[_Floats, NDArray[np.intp]]:
    """Return distances to the nearest other spots and which they are ``(n_spots, k)`` each.

    Args:
        scores: Coordinates of one slide's spots ``(n_spots, n_components)``.
        count: How many; all other spots where there are fewer.
    """
    count = min(count, len(scores) - 1)
    if count < 1:
        return np.empty((len(scores), 0)), np.empty((len(scores), 0), dtype=np.intp)
    search = NearestNeighbors(n_neighbors=count).fit(scores)
    distances, places = search.kneighbors()
    return distances, places


def table_weights(places: NDArray[np.intp], weights: _Floats, n_spots: int) -> sparse.csr_array:
    """Return a table of weights ``(n_spots, k)`` as a sparse matrix ``(n_spots, n_spots)``."""
    rows = np.repeat(np.arange(n_spots), places.shape[1])
    entries = (weights.ravel(), (rows, places.ravel()))
    return sparse.csr_array(sparse.coo_array(entries, shape=(n_spots, n_spots)))


def magic_diffusion(expression: _Floats, knn: int) -> sparse.csr_array:
    """Return MAGIC's Markov matrix between the spots of a slide ``(n_spots, n_spots)``.

    van Dijk et al. 2018 with the package's defaults: affinity exp(−d / σ), σ the distance to the
    ``knn``-th neighbour, 3 ``knn`` neighbours at most, weights below 1e-4 dropped, 1 to itself,
    symmetrised, rows to sum 1.

    Args:
        expression: Nothing missing ``(n_spots, n_genes)``.
        knn: Neighbours that set a spot's scale.
    """
    n_spots = len(expression)
    scores = expression
    if expression.shape[1] > MAGIC_COMPONENTS:
        scores = principal_scores(expression, MAGIC_COMPONENTS)
    distances, places = nearest_spots(scores, _MAGIC_NEIGHBOURS_PER_KNN * knn)
    if places.shape[1]:
        scale = distances[:, [min(knn, places.shape[1]) - 1]]
        # Where the scale is 0, a spot is like its twins and like no other.
        unlike = np.where(distances > 0, np.inf, 0.0)
        relative = np.divide(distances, scale, out=unlike, where=scale > 0)
        weights = np.exp(-relative)
        weights[weights < _MAGIC_LEAST_WEIGHT] = 0.0
    else:
        weights = distances
    affinity = table_weights(places, weights, n_spots) + sparse.eye_array(n_spots, format="csr")
    affinity = (affinity + affinity.T) / 2
    markov: sparse.csr_array = sparse.csr_array(
        affinity.multiply(1 / affinity.sum(axis=1)[:, None])
    )
    return markov


# Weight of a spot's own unsmoothed scores in its distances: spots that were averaged over the same
# neighbours are equal, and the published script's random dither would make chance decide.
_OWN_SHARE = 1e-3


def knn_smoothing_neighbours(
    expression: _Floats,
    count: int,
    components: int,
    smooth: Callable[[NDArray[np.intp]], _Floats],
) -> NDArray[np.intp]:
    """Return the ``count`` nearest spots of each, itself the first ``(n_spots, count)``.

    kNN-smoothing 2.1 (Wagner, Yan and Yanai 2018): neighbours are found among smoothed spots,
    with 2, 4, 8, … of them, each round from the original values. Ties are broken by the spots'
    own values instead of by a random dither.

    Args:
        expression: What the first distances are taken of ``(n_spots, n_genes)``.
        count: Neighbours of the last round; all spots where there are fewer.
        components: Principal components in which distances are taken.
        smooth: Gives from a table of neighbours what the next distances are taken of.
    """
    n_spots = len(expression)
    count = min(count, n_spots)
    itself = np.arange(n_spots)[:, None]
    table = itself
    own = principal_scores(expression, components)
    scores = own
    for step in range(1, math.ceil(math.log2(max(count, 1))) + 1):
        _, others = nearest_spots(scores, min(2**step, count) - 1)
        table = np.concatenate([itself, others], axis=1)
        smoothed = principal_scores(smooth(table), components)
        scores = np.concatenate([smoothed, _OWN_SHARE * own], axis=1)
    return table
