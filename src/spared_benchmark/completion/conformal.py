"""Intervals from errors that were seen: by gene on the train slides, by scale on the slide itself.

What would be measured is a whole number of molecules, so its spread around what is expected is
skewed, differently for a gene of one or two molecules and for one of a hundred. The shape of the
spread is therefore taken from errors of the gene, in units of the model's own standard deviation;
and its scale from errors at entries that are hidden within the slide (conformalised quantile
regression: Romano, Patterson and Candès 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.belief import NOMINAL

_TAIL = (1 - NOMINAL) / 2
_GENE_WEIGHT = 100.0  # errors that the quantiles of all genes are worth in each gene's
_SCALE_WEIGHT = 100.0  # errors that a scale of 1 is worth
_SCALE_LEAST_ERRORS = 20
_LEAST = 1e-6

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorShape:
    """Errors of each gene in units of the model's standard deviation.

    Attributes:
        lower: Their quantile at half of what an interval may miss ``(n_genes,)``; below 0.
        upper: The opposite quantile ``(n_genes,)``; above 0.
        spread: Their root mean square ``(n_genes,)``.
    """

    lower: _Floats
    upper: _Floats
    spread: _Floats

    @classmethod
    def of(cls, errors: _Floats, gene: NDArray[np.integer], n_genes: int) -> ErrorShape:
        """Take the errors' shape, each gene's shrunk to that of all.

        Args:
            errors: Truth less completion over standard deviation ``(n,)``.
            gene: Of each error ``(n,)``.
            n_genes: How many there are.
        """
        if not len(errors):
            # Nothing to learn from: those of a normal distribution.
            ones = np.ones(n_genes)
            return cls(-1.645 * ones, 1.645 * ones, ones)
        order = np.lexsort((errors, gene))
        ordered, own = errors[order], gene[order]
        counts = np.bincount(own, minlength=n_genes)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        weight = counts / (counts + _GENE_WEIGHT)
        ends = []
        for level in (_TAIL, 1 - _TAIL):
            place = starts + np.floor(level * np.maximum(counts - 1, 0)).astype(np.int64)
            of_gene = ordered[np.minimum(place, len(ordered) - 1)]
            ends.append(weight * of_gene + (1 - weight) * np.quantile(errors, level))
        squares = np.bincount(own, weights=np.square(ordered), minlength=n_genes)
        mean_square = squares / np.maximum(counts, 1)
        spread = np.sqrt(weight * mean_square + (1 - weight) * np.square(errors).mean())
        return cls(np.minimum(ends[0], -_LEAST), np.maximum(ends[1], _LEAST), spread)

    def scale(self, errors: _Floats, gene: NDArray[np.integer]) -> float:
        """Return by what ends must be multiplied to hold `NOMINAL` of ``errors``.

        With few errors it is shrunk to 1, and it is 1 where they are too few to have such ends.
        """
        if len(errors) < _SCALE_LEAST_ERRORS:
            return 1.0
        score = np.maximum(errors / self.upper[gene], errors / self.lower[gene])
        count = len(score)
        level = min(np.ceil((count + 1) * NOMINAL) / count, 1.0)
        needed = float(np.quantile(score, level, method="higher"))
        return (count * max(needed, _LEAST) + _SCALE_WEIGHT) / (count + _SCALE_WEIGHT)

    def state(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return the arrays, each name behind ``prefix``."""
        return {prefix + name: getattr(self, name) for name in ("lower", "upper", "spread")}

    @classmethod
    def loaded(cls, state: Mapping[str, NDArray[Any]], prefix: str) -> ErrorShape:
        """Take what `state` gave."""
        names = ("lower", "upper", "spread")
        return cls(*(np.asarray(state[prefix + name], dtype=np.float64) for name in names))
