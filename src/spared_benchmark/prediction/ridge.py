"""Ridge regression with an entry-wise mask, for many genes and penalties at once.

Genes whose entries count at the same spots share one matrix; each other gene has its own, of side
m = min(n_spots, d): the inputs' second moments, or for fewer spots than inputs the spots' products
(the dual form). One is held at a time, so memory is that of the inputs and of four matrices of
side m, whatever the number of genes (d = 2,000: 128 MB beside the inputs); keeping the matrices
of 128 genes would take 4 GB. Operations for each distinct mask: m³/3 for each penalty, and at
most n m² / 2 for its matrix, which is the common one less its missing spots, or the sum over its
measured ones, whichever are fewer. Where entries count by fractions each gene has a matrix of its
own, from weighted copies of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from spared_benchmark.prediction.types import Weight

Floats = NDArray[np.float64]
# Spots whose products are summed at once.
_BLOCK = 4096


@dataclass(frozen=True)
class Solutions:
    """One linear map for each penalty.

    Attributes:
        coefficients: ``(n_penalties, d, n_genes)``.
        intercepts: ``(n_penalties, n_genes)``.
    """

    coefficients: Floats
    intercepts: Floats


# Of one mask: spots that count, mean of their inputs, targets about their means (n, genes), and
# penalties; gives coefficients (n_penalties, d, genes).
_Solve = Callable[[NDArray[np.intp], Floats, Floats, Sequence[float]], Floats]


def solve(
    inputs: Floats, y: NDArray[np.float32], weight: Weight, penalties: Sequence[float]
) -> Solutions:
    """Fit ``y`` ``(n_spots, n_genes)`` by ``inputs`` ``(n_spots, d)`` where ``weight``.

    Minimises, for each gene and penalty, the mean of squared errors over the gene's entries,
    weighted if they are, plus the penalty times the squared norm of its coefficients; the
    intercept is free. A gene with no entry takes the mean of all entries and no slope.

    Args:
        inputs: On scales that one penalty suits.
        y: Not read where ``weight`` is not set.
        weight: Entries that count (bool), or how much each counts.
        penalties: All above 0.
    """
    if weight.dtype != np.bool_:
        return _weighted(inputs, y, weight.astype(np.float64), penalties)
    return _masked(inputs, y, weight > 0, penalties)


def _masked(
    inputs: Floats, y: NDArray[np.float32], weight: NDArray[np.bool_], penalties: Sequence[float]
) -> Solutions:
    n_spots, width = inputs.shape
    n_genes = y.shape[1]
    coefficients = np.zeros((len(penalties), width, n_genes))
    intercepts = np.empty((len(penalties), n_genes))
    overall = y[weight].mean(dtype=np.float64) if weight.any() else 0.0
    of_mask = _dual(inputs) if n_spots < width else _primal(inputs)
    for rows, genes in _masks(weight):
        if len(rows) == 0:
            intercepts[:, genes] = overall
            continue
        target = y[np.ix_(rows, genes)].astype(np.float64)
        level = target.mean(axis=0)
        mean = weight[:, genes[0]].astype(np.float64) @ inputs / len(rows)
        found = of_mask(rows, mean, target - level, penalties)
        coefficients[:, :, genes] = found
        intercepts[:, genes] = level - mean @ found
    return Solutions(coefficients, intercepts)


def _weighted(
    inputs: Floats, y: NDArray[np.float32], weight: Floats, penalties: Sequence[float]
) -> Solutions:
    """Solve gene by gene: errors times the roots of their weights are plain least squares."""
    width, n_genes = inputs.shape[1], y.shape[1]
    coefficients = np.zeros((len(penalties), width, n_genes))
    values = np.where(weight > 0, y, 0).astype(np.float64)
    intercepts = np.full((len(penalties), n_genes), (weight * values).sum() / _sum_of(weight))
    for gene in np.flatnonzero(weight.sum(axis=0)):
        rows = np.flatnonzero(weight[:, gene])
        share = weight[rows, gene] / weight[rows, gene].sum()
        own, target, root = inputs[rows], values[rows, gene, None], np.sqrt(share)[:, None]
        mean, level = share @ own, share @ target
        own = root * (own - mean)
        right = root * (target - level)
        if len(rows) < width:
            found = own.T @ _each_penalty(own @ own.T, right, penalties)
        else:
            found = _each_penalty(own.T @ own, own.T @ right, penalties)
        coefficients[:, :, gene] = found[:, :, 0]
        intercepts[:, gene] = level - found[:, :, 0] @ mean
    return Solutions(coefficients, intercepts)


def _sum_of(weight: Floats) -> float:
    return float(weight.sum()) or 1.0


def _masks(weight: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the spots that count and the genes of which that is true, for every distinct mask."""
    _, codes = np.unique(np.packbits(weight, axis=0), axis=1, return_inverse=True)
    for code in range(codes.max() + 1):
        genes = np.flatnonzero(codes.ravel() == code)
        yield np.flatnonzero(weight[:, genes[0]]), genes


def _primal(inputs: Floats) -> _Solve:
    """Return the solver by second moments of the inputs."""
    everyone = np.arange(len(inputs))
    common = _second_moments(inputs, everyone)

    def of_mask(
        rows: NDArray[np.intp], mean: Floats, target: Floats, penalties: Sequence[float]
    ) -> Floats:
        missing = np.setdiff1d(everyone, rows)
        if len(missing) < len(rows):
            matrix = _second_moments(inputs, missing)
            np.subtract(common, matrix, out=matrix)
        else:
            matrix = _second_moments(inputs, rows)
        matrix /= len(rows)
        matrix -= np.outer(mean, mean)
        # The targets sum to 0, so the inputs need no centring here.
        right = inputs.T @ _placed(target, rows, len(inputs)) / len(rows)
        return _each_penalty(matrix, right, penalties)

    return of_mask


def _dual(inputs: Floats) -> _Solve:
    """Return the solver by products of the spots with one another."""
    products = inputs @ inputs.T

    def of_mask(
        rows: NDArray[np.intp], _: Floats, target: Floats, penalties: Sequence[float]
    ) -> Floats:
        matrix = products[np.ix_(rows, rows)] / len(rows)
        matrix -= matrix.mean(axis=0)
        matrix -= matrix.mean(axis=1, keepdims=True)
        shares = _each_penalty(matrix, target / len(rows), penalties)
        # Inputs about their mean, of which the sum of the shares would bring in the mean.
        shares -= shares.mean(axis=1, keepdims=True)
        beside = shares.transpose(1, 0, 2).reshape(len(rows), -1)
        found = inputs.T @ _placed(beside, rows, len(inputs))
        return found.reshape(-1, len(penalties), target.shape[1]).transpose(1, 0, 2)

    return of_mask


def _placed(values: Floats, rows: NDArray[np.intp], n_spots: int) -> Floats:
    """Return ``values`` at ``rows`` and 0 elsewhere: a product with them copies no inputs."""
    placed = np.zeros((n_spots, values.shape[1]))
    placed[rows] = values
    return placed


def _second_moments(inputs: Floats, rows: NDArray[np.intp]) -> Floats:
    total = np.zeros((inputs.shape[1], inputs.shape[1]))
    for start in range(0, len(rows), _BLOCK):
        block = inputs[rows[start : start + _BLOCK]]
        total += block.T @ block
    return total


def _each_penalty(matrix: Floats, right: Floats, penalties: Sequence[float]) -> Floats:
    """Return the solutions ``(n_penalties, side, genes)`` of ``(matrix + penalty · 1) x = right``.

    ``matrix`` has no negative eigenvalue, so the sum with a penalty is positive.
    """
    found, diagonal = np.empty((len(penalties), *right.shape)), matrix.diagonal().copy()
    for place, penalty in enumerate(penalties):
        np.fill_diagonal(matrix, diagonal + penalty)
        found[place] = cho_solve(cho_factor(matrix, lower=True), right)
    return found
