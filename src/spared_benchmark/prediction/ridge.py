"""Ridge regression with an entry-wise mask, for many genes and penalties at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BLOCK_BYTES = 1 << 27


@dataclass(frozen=True)
class Moments:
    """What a ridge needs of the data: centred second moments over the entries that count.

    Attributes:
        gram: Of the inputs, ``(n_genes, d, d)``, or ``(1, d, d)`` when every entry counts.
        cross: Of inputs and target, ``(n_genes, d)``.
        input_mean: ``(n_genes, d)`` or ``(1, d)``.
        target_mean: ``(n_genes,)``.
    """

    gram: Floats
    cross: Floats
    input_mean: Floats
    target_mean: Floats


def moments(inputs: Floats, y: NDArray[np.float32], weight: NDArray[np.bool_]) -> Moments:
    """Return the moments of ``inputs`` ``(n, d)`` and ``y`` ``(n, n_genes)`` where ``weight``.

    A gene with no entry takes the mean of all entries and no slope.
    """
    counts = weight.sum(axis=0).astype(np.float64)
    divisor = np.maximum(counts, 1)
    values = np.where(weight, y, 0).astype(np.float64)
    overall = values.sum() / max(counts.sum(), 1)
    target_mean = np.where(counts > 0, values.sum(axis=0) / divisor, overall)
    deviation = np.where(weight, values - target_mean, 0)
    if weight.all():
        input_mean = inputs.mean(axis=0, keepdims=True)
        centred = inputs - input_mean
        gram = (centred.T @ centred / len(inputs))[None]
        return Moments(gram, deviation.T @ centred / len(inputs), input_mean, target_mean)
    mask = weight.astype(np.float64)
    input_mean = mask.T @ inputs / divisor[:, None]
    # The deviations of y sum to 0 over the entries, so the inputs need no centring here.
    cross = deviation.T @ inputs / divisor[:, None]
    gram = _masked_gram(inputs, mask) / divisor[:, None, None]
    gram -= input_mean[:, :, None] * input_mean[:, None, :]
    return Moments(gram, cross, input_mean, target_mean)


def _masked_gram(inputs: Floats, mask: Floats) -> Floats:
    n_spots, width = inputs.shape
    n_genes = mask.shape[1]
    gram = np.empty((n_genes, width, width))
    block = max(1, _BLOCK_BYTES // max(8 * n_spots * width, 1))
    for start in range(0, n_genes, block):
        kept = mask[:, start : start + block].T[:, :, None] * inputs
        gram[start : start + block] = np.matmul(inputs.T, kept)
    return gram


def solve(of: Moments, penalty: float) -> tuple[Floats, Floats]:
    """Return coefficients ``(d, n_genes)`` and intercepts ``(n_genes,)``.

    Minimises, for each gene, the mean of squared errors over its entries plus ``penalty`` times
    the squared norm of its coefficients; the intercept is free.
    """
    width = of.cross.shape[1]
    matrix = of.gram + penalty * np.eye(width)
    if len(matrix) == 1:
        coefficients = np.linalg.solve(matrix[0], of.cross.T).T
    else:
        coefficients = np.linalg.solve(matrix, of.cross[:, :, None])[:, :, 0]
    intercept = of.target_mean - (coefficients * of.input_mean).sum(axis=1)
    return coefficients.T, intercept
