"""Correlations over the entries that count, for every gene or spot at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A standard deviation below this share of the mean is the rounding of float32, not variation.
_RESOLUTION = 1e-6
_FEWEST_PARTIAL = 4


def correlation(
    first: ArrayLike, second: ArrayLike, entries: NDArray[np.bool_], axis: int
) -> NDArray[np.float64]:
    """Return Pearson's correlation along ``axis`` over the given entries.

    Args:
        first: Values ``(n_spots, n_genes)``; whatever lies outside ``entries`` is not read.
        second: Values of the same shape.
        entries: The entries that count ``(n_spots, n_genes)``.
        axis: 0 gives one correlation per gene, 1 one per spot.

    Returns:
        The correlations; NaN where fewer than two entries count or either side is constant.
    """
    deviation_first, constant_first = centred(first, entries, axis)
    deviation_second, constant_second = centred(second, entries, axis)
    squares = (deviation_first**2).sum(axis) * (deviation_second**2).sum(axis)
    products = (deviation_first * deviation_second).sum(axis)
    undefined = constant_first | constant_second | (entries.sum(axis) < 2)
    return pearson(products, squares, undefined)


def pearson(
    products: NDArray[np.float64], squares: NDArray[np.float64], undefined: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return Pearson's correlations from sums over deviations from the means ``(n_lines,)``.

    Args:
        products: Sums of the products of both sides' deviations.
        squares: Sum of the first side's squared deviations times that of the second's.
        undefined: Lines whose correlation is NaN.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.clip(products / np.sqrt(squares), -1.0, 1.0)
    return np.where(undefined, np.nan, value)


def partial_correlation(
    first: ArrayLike, second: ArrayLike, given: ArrayLike, entries: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return each gene's correlation of two matrices with a covariate removed.

    Args:
        first: Values ``(n_spots, n_genes)``.
        second: Values of the same shape.
        given: The covariate ``(n_spots,)``, or of each entry ``(n_spots, n_genes)``.
        entries: The entries that count ``(n_spots, n_genes)``.

    Returns:
        One value per gene ``(n_genes,)``; NaN where the plain correlation is undefined, where the
        covariate explains one side wholly, and below four entries: of three it is 1 or −1
        whatever they are. A constant covariate removes nothing.
    """
    covariate = np.asarray(given, dtype=np.float64)
    if covariate.ndim == 1:
        covariate = np.broadcast_to(covariate[:, None], entries.shape)
    plain = correlation(first, second, entries, axis=0)
    with_first = np.nan_to_num(correlation(first, covariate, entries, axis=0))
    with_second = np.nan_to_num(correlation(second, covariate, entries, axis=0))
    remaining = (1 - with_first**2) * (1 - with_second**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (plain - with_first * with_second) / np.sqrt(remaining)
    undefined = (remaining < _RESOLUTION) | (entries.sum(axis=0) < _FEWEST_PARTIAL)
    return np.where(undefined, np.nan, np.clip(value, -1.0, 1.0))


def centred(
    values: ArrayLike, entries: NDArray[np.bool_], axis: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the deviations from the mean along ``axis`` and which lines are constant.

    Deviations outside ``entries`` are 0. A line with no entry is constant.
    """
    kept = np.where(entries, np.asarray(values, dtype=np.float64), 0.0)
    count = entries.sum(axis, keepdims=True)
    mean = kept.sum(axis, keepdims=True) / np.maximum(count, 1)
    deviation = np.where(entries, kept - mean, 0.0)
    limit = np.squeeze(count * (_RESOLUTION * mean) ** 2, axis)
    return deviation, (deviation**2).sum(axis) <= limit
