"""One ridge regression per gene, each on its own rows, solved in blocks of genes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GENES_AT_ONCE = 16
# The last predictor is constant; the fit's level is not to be shrunk.
_CONSTANT_PENALTY = 1e-3


@dataclass(frozen=True, eq=False)
class Example:
    """Spots of which some entries are to be predicted.

    Attributes:
        predictors: float32 ``(n_spots, n_predictors)``.
        hidden: The entries to predict ``(n_spots, n_genes)``.
        target: Their values, 0 elsewhere ``(n_spots, n_genes)``.
    """

    predictors: NDArray[np.float32]
    hidden: NDArray[np.bool_]
    target: NDArray[np.float32]


def solve_by_gene(examples: Sequence[Example], penalties: Sequence[float]) -> NDArray[np.float64]:
    """Return the coefficients ``(n_penalties, n_genes, n_predictors)``.

    Args:
        examples: Draws of hidden entries; all count the same.
        penalties: Ridge penalties, in rows: a standardised predictor's sum of squares is that
            many rows.
    """
    n_genes = examples[0].hidden.shape[1]
    n_predictors = examples[0].predictors.shape[1]
    coefficients = np.empty((len(penalties), n_genes, n_predictors))
    for genes in _blocks(n_genes):
        gram = np.zeros((genes.size, n_predictors, n_predictors))
        cross = np.zeros((genes.size, n_predictors))
        for example in examples:
            own_gram, own_cross = _sums(example, genes)
            gram += own_gram
            cross += own_cross
        for place, penalty in enumerate(penalties):
            shrunk = np.full(n_predictors, float(penalty))
            shrunk[-1] = _CONSTANT_PENALTY
            solved = np.linalg.solve(gram + np.diag(shrunk), cross[:, :, None])
            coefficients[place, genes] = solved[:, :, 0]
    return coefficients


def _sums(
    example: Example, genes: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return XᵀX and Xᵀy over each gene's hidden rows, the shorter lists padded by zeros."""
    hidden = example.hidden[:, genes]
    longest = int(hidden.sum(axis=0).max(initial=0))
    rows = np.argsort(~hidden, axis=0, kind="stable")[:longest]
    counted = np.take_along_axis(hidden, rows, axis=0)
    predictors = example.predictors[rows.T] * counted.T[:, :, None]
    target = np.take_along_axis(example.target[:, genes], rows, axis=0).T
    transposed = predictors.transpose(0, 2, 1)
    return transposed @ predictors, (transposed @ target[:, :, None])[:, :, 0]


def _blocks(n_genes: int) -> Iterator[NDArray[np.intp]]:
    for first in range(0, n_genes, _GENES_AT_ONCE):
        yield np.arange(first, min(first + _GENES_AT_ONCE, n_genes))
