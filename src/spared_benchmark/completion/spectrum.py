"""Low-rank completion of a matrix of which some entries are visible.

Both forms repeat one step: fill what is not visible with the current low-rank matrix and take the
nearest low-rank matrix of the whole. Singular values come from the Gram matrix of the genes
``(n_genes, n_genes)``, so a step costs n_spots · n_genes².
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


def largest_singular_value(values: _Floats) -> float:
    """Return the largest singular value of ``(n_spots, n_genes)``, 0 of an empty matrix."""
    if 0 in values.shape:
        return 0.0
    return float(np.sqrt(max(np.linalg.eigvalsh(values.T @ values)[-1], 0.0)))


def soft_impute(
    values: _Floats,
    visible: _Floats,
    penalty: float,
    start: _Floats,
    *,
    rounds: int,
    tolerance: float,
) -> _Floats:
    """Return the minimiser Z of ½‖V (X − Z)‖² + λ‖Z‖ (nuclear norm) ``(n_spots, n_genes)``.

    Mazumder, Hastie and Tibshirani 2010, algorithm 1.

    Args:
        values: X; 0 wherever not visible ``(n_spots, n_genes)``.
        visible: V, as numbers ``(n_spots, n_genes)``.
        penalty: λ, which is taken off every singular value.
        start: Of the iteration, such as the minimiser of a larger penalty.
        rounds: Steps at most.
        tolerance: A relative change below which the iteration has ended.
    """

    def soft(singular: _Floats) -> _Floats:
        return np.maximum(1 - penalty / np.maximum(singular, 1e-300), 0.0)

    return _iterated(values, visible, soft, start, rounds, tolerance)


def hard_impute(
    values: _Floats,
    visible: _Floats,
    rank: int,
    start: _Floats,
    *,
    rounds: int,
    tolerance: float,
) -> _Floats:
    """Return a matrix of ``rank`` near to X on visible entries; arguments as of `soft_impute`."""

    def hard(singular: _Floats) -> _Floats:
        return (np.arange(singular.size) < rank).astype(np.float64)

    return _iterated(values, visible, hard, start, rounds, tolerance)


def _iterated(
    values: _Floats,
    visible: _Floats,
    shrink: Callable[[_Floats], _Floats],
    start: _Floats,
    rounds: int,
    tolerance: float,
) -> _Floats:
    absent = 1 - visible
    current = start
    for _ in range(rounds):
        filled = values + absent * current
        squares, vectors = np.linalg.eigh(filled.T @ filled)
        factor = shrink(np.sqrt(np.maximum(squares[::-1], 0.0)))
        kept = np.flatnonzero(factor)
        leading = vectors[:, ::-1][:, kept]
        following = filled @ ((leading * factor[kept]) @ leading.T)
        change = np.square(following - current).sum()
        size = np.square(current).sum()
        current = following
        if change <= tolerance**2 * size:
            break
    return current
