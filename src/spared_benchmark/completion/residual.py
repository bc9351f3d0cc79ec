"""What remains of visible values after gene mean and spot offset, and smoothers of it.

Normalised convolution (Knutsson and Westin 1993) turns any smoother K with weights of at least 0
into a completer that knows what is visible: with V visible and E = V (Y − base), the completion
is base + K E / (K V + λ). An entry that is not visible has V = 0 and takes no part, whatever
weight K gives it; where little is visible, λ leaves the base.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.completion.closed_form import slide_means, spot_offsets
from spared_benchmark.completion.visible import Visible

MEAN_WEIGHT = OFFSET_WEIGHT = 5.0

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Residuals:
    """Visible values of spots as base plus residual.

    Attributes:
        base: Slide gene mean plus spot offset, both shrunk ``(n_spots, n_genes)``.
        offset: The spot offset ``(n_spots, 1)``.
        values: Residuals E; 0 wherever not visible ``(n_spots, n_genes)``.
        visible: V, as numbers ``(n_spots, n_genes)``.
    """

    base: _Floats
    offset: _Floats
    values: _Floats
    visible: _Floats

    @classmethod
    def of(
        cls,
        given: Visible,
        gene_mean: _Floats,
        mean_weight: float = MEAN_WEIGHT,
        offset_weight: float = OFFSET_WEIGHT,
    ) -> Residuals:
        """Take base and residuals of spots of one or more slides.

        Args:
            given: What is visible.
            gene_mean: Means over train slides ``(n_genes,)``.
            mean_weight: How many visible entries the train mean is worth.
            offset_weight: How many visible entries an offset of 0 is worth.
        """
        means = slide_means(given, gene_mean, mean_weight)
        offset = spot_offsets(given, means, offset_weight)
        base = means + offset
        values = np.where(given.visible, given.values - base, 0.0)
        return cls(base, offset, values, given.visible.astype(np.float64))

    def smoothed(self, sums: _Floats, counts: _Floats, shrinkage: float) -> _Floats:
        """Return base + ``sums`` / (``counts`` + ``shrinkage``), base where that is 0 / 0.

        Args:
            sums: K E ``(n_spots, n_genes)``.
            counts: K V ``(n_spots, n_genes)``.
            shrinkage: λ, in units of a weight of K.
        """
        total = counts + shrinkage
        completed: _Floats = self.base + np.divide(
            sums, total, out=np.zeros_like(sums), where=total > 0
        )
        return completed

    def convolved(self, weights: sparse.csr_array) -> tuple[_Floats, _Floats]:
        """Return K E and K V ``(n_spots, n_genes)`` each, for sparse ``weights``."""
        sums: _Floats = weights @ self.values
        counts: _Floats = weights @ self.visible
        return sums, counts


def by_slide(given: Visible, complete: Callable[[Visible], _Floats]) -> _Floats:
    """Complete each slide for itself ``(n_spots, n_genes)``."""
    completed = np.empty(given.values.shape)
    for code in given.slides:
        of_slide = given.slide == code
        completed[of_slide] = complete(given.rows(of_slide))
    return completed


def principal_scores(values: _Floats, components: int) -> _Floats:
    """Return the scores of spots on the leading principal components ``(n_spots, n_components)``.

    Args:
        values: ``(n_spots, n_genes)``, no entry missing; centred here.
        components: How many at most; fewer where spots or genes are fewer.
    """
    centred = values - values.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    scores: _Floats = centred @ vectors[:, ::-1][:, : min(components, *values.shape)]
    return scores
