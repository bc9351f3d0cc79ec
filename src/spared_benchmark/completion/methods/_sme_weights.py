"""The weights of stLearn's stSME between a spot and its lattice neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


def correlations(scores: _Floats, table: NDArray[np.int32]) -> _Floats:
    """Return each spot's correlation with its neighbours ``(n_spots, k)``, 0 where undefined.

    A correlation over components depends on their signs, which no decomposition determines: each
    is turned so that its largest score is positive.

    Args:
        scores: Principal components of one slide's spots ``(n_spots, n_components)``.
        table: Neighbour table ``(n_spots, k)``, −1 padded; 0 there.
    """
    largest = np.take_along_axis(scores, np.abs(scores).argmax(axis=0)[None], axis=0)
    scores = scores * np.where(largest < 0, -1.0, 1.0)
    centred = scores - scores.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    columns = [np.einsum("nc,nc->n", unit, unit[column]) for column in table.T]
    found = np.stack(columns, axis=1) if columns else np.zeros(table.shape)
    return np.where(table >= 0, found, 0.0)


def strongest(
    table: NDArray[np.int32], weights: _Floats, count: int
) -> tuple[NDArray[np.int32], _Floats]:
    """Return the neighbours of the largest weights and these ``(n_spots, min(count, k))`` each."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(table, order, axis=1), np.take_along_axis(weights, order, axis=1)


def weighted_sum(values: _Floats, table: NDArray[np.int32], weights: _Floats) -> _Floats:
    """Return the neighbours' weighted sum ``(n_spots, n_genes)``.

    Args:
        values: ``(n_spots, n_genes)``.
        table: Neighbour table ``(n_spots, k)``, −1 padded.
        weights: ``(n_spots, k)``.
    """
    padded = np.vstack([values, np.zeros((1, values.shape[1]))])
    total = np.zeros_like(values)
    for place, weight in zip(table.T, weights.T, strict=True):  # (n_spots, k, n_genes) never held
        total += weight[:, None] * padded[place]
    return total
