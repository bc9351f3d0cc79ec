"""Moran's I of every gene at once (Moran 1950, Biometrika 37:17)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_GENES_AT_ONCE = 128


def morans_i(values: NDArray[np.float32], neighbours: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return Moran's I of each gene of one slide, float64 ``(n_genes,)``.

    I = (N / W) Σ_ij w_ij z_i z_j / Σ_i z_i², where z is the value minus the slide's mean and
    w_ij is 1 over the number of neighbours of i; W is the number of spots with a neighbour.

    Args:
        values: Expression ``(n_spots, n_genes)``.
        neighbours: Rows of each spot's neighbours ``(n_spots, k)``, −1 padded.

    Returns:
        I by gene; NaN for a gene that is constant, or when no spot has a neighbour.
    """
    weights = row_weights(neighbours)
    spots, genes = values.shape
    connected = float(np.count_nonzero(np.diff(weights.indptr)))
    result = np.full(genes, np.nan)
    if connected == 0:
        return result
    for start in range(0, genes, _GENES_AT_ONCE):
        block = slice(start, start + _GENES_AT_ONCE)
        centred = values[:, block].astype(np.float64)
        constant = (centred == centred[0]).all(axis=0)
        centred -= centred.mean(axis=0)
        products = np.einsum("ij,ij->j", centred, weights @ centred)
        squares = np.einsum("ij,ij->j", centred, centred)
        squares[constant] = np.nan
        result[block] = spots / connected * products / squares
    return result


def row_weights(neighbours: NDArray[np.int32]) -> sparse.csr_matrix:
    """Return the weights ``(n_spots, n_spots)``, sparse: 1 / number of neighbours of the row."""
    present = neighbours >= 0
    degree = present.sum(axis=1)
    pointers = np.concatenate([[0], np.cumsum(degree)])
    share = np.repeat(1.0 / np.maximum(degree, 1), degree)
    shape = (neighbours.shape[0], neighbours.shape[0])
    return sparse.csr_matrix((share, neighbours[present], pointers), shape=shape)
