"""Which of the filtered genes a cohort keeps: the highest by Moran's I."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def mean_over_slides(by_slide: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean of each gene over the slides where it is defined, else NaN ``(n_genes,)``.

    Args:
        by_slide: Moran's I ``(n_genes,)`` of each slide, NaN where a gene is constant.
    """
    values = np.stack(by_slide)
    defined = np.isfinite(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0).sum(axis=0)
    mean = np.full(count.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def rank_genes(scores: NDArray[np.float64], genes: NDArray[np.str_]) -> NDArray[np.intp]:
    """Return the positions of the genes from the highest score, ties by name, NaN last.

    Args:
        scores: Of each gene ``(n_genes,)``.
        genes: Names ``(n_genes,)``.
    """
    return np.lexsort((genes, -np.nan_to_num(scores, nan=-np.inf, neginf=-np.inf)))
