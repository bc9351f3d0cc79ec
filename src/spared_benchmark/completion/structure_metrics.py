"""How far completion changes a slide's structure: Moran's I and gene–gene correlations.

Both are taken over known entries alone: visible ones, and hidden ones as they are or as they were
completed. Missing entries have no truth and take no part, so what is compared has one support.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_Floats = NDArray[np.float64]
# Spots in which both genes are known, for their correlation to be compared.
LEAST_COMMON = 3
# A variance below this share of the mean square is the rounding of float32, not variation.
_RESOLUTION = 1e-10


class KnownEntries:
    """The known entries of one slide, for which `moran` and `correlation` are defined.

    Args:
        known: ``(n_spots, n_genes)``.
        neighbours: Rows of each spot's neighbours ``(n_spots, k)``, −1 padded.
    """

    def __init__(self, known: NDArray[np.bool_], neighbours: NDArray[np.int32]) -> None:
        self._known = known.astype(np.float64)
        self._count = self._known.sum(axis=0)
        self._adjacency = _adjacency(neighbours)
        self._degree = (self._adjacency @ self._known) * self._known
        self._common = self._known.T @ self._known

    def moran(self, values: NDArray[np.floating]) -> _Floats:
        """Return Moran's I of each gene ``(n_genes,)`` (Moran 1950, Biometrika 37:17).

        I = (N / W) Σ_i z_i m_i / Σ_i z_i² over known entries, with z the value minus the gene's
        mean, m_i the mean of z over the known neighbours of i, N the known spots and W those of
        them that have a known neighbour. Where all is known this is the I that ranks genes.

        Args:
            values: ``(n_spots, n_genes)``; numbers at unknown entries are not read.

        Returns:
            NaN for a gene that is constant or has no pair of known neighbours.
        """
        centred = self._centred(values)
        lag = (self._adjacency @ centred) / np.maximum(self._degree, 1)
        squares = (centred**2).sum(axis=0)
        connected = (self._degree > 0).sum(axis=0)
        undefined = self._constant(values, squares) | (connected == 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            index: _Floats = self._count / connected * (centred * lag).sum(axis=0) / squares
        index[undefined] = np.nan
        return index

    def correlation(self, values: NDArray[np.floating]) -> _Floats:
        """Return Pearson's correlation of each pair of genes ``(n_genes, n_genes)``.

        Over the spots in which both are known; NaN for a pair with fewer than `LEAST_COMMON`, or
        of which one is constant there.

        Args:
            values: ``(n_spots, n_genes)``; numbers at unknown entries are not read.
        """
        centred = self._centred(values)
        sums = centred.T @ self._known
        squares = (centred**2).T @ self._known
        count = np.maximum(self._common, 1)
        variance = squares - sums**2 / count
        covariance = centred.T @ centred - sums * sums.T / count
        constant = variance <= _RESOLUTION * self._mean_square(values)[:, None] * count
        few = self._common < LEAST_COMMON
        with np.errstate(invalid="ignore", divide="ignore"):
            found: _Floats = np.clip(covariance / np.sqrt(variance * variance.T), -1.0, 1.0)
        found[constant | constant.T | few] = np.nan
        return found

    def _centred(self, values: NDArray[np.floating]) -> _Floats:
        kept = np.where(self._known > 0, np.asarray(values, dtype=np.float64), 0.0)
        means = kept.sum(axis=0) / np.maximum(self._count, 1)
        centred: _Floats = (kept - means) * self._known
        return centred

    def _mean_square(self, values: NDArray[np.floating]) -> _Floats:
        kept = np.where(self._known > 0, np.asarray(values, dtype=np.float64), 0.0)
        mean: _Floats = (kept**2).sum(axis=0) / np.maximum(self._count, 1)
        return mean

    def _constant(self, values: NDArray[np.floating], squares: _Floats) -> NDArray[np.bool_]:
        limit: NDArray[np.bool_] = squares <= _RESOLUTION * self._mean_square(values) * self._count
        return limit


class TrueStructure:
    """Moran's I and correlations of one slide as they are, to compare completions with.

    Args:
        entries: The known entries.
        truth: Values of known entries ``(n_spots, n_genes)``.
    """

    def __init__(self, entries: KnownEntries, truth: NDArray[np.floating]) -> None:
        self._entries = entries
        self._moran = entries.moran(truth)
        self._correlation = entries.correlation(truth)

    def errors(
        self, completed: NDArray[np.floating], touched: NDArray[np.bool_]
    ) -> Mapping[str, tuple[float, int]]:
        """Return the mean absolute error of both, and over how many numbers each is a mean.

        Args:
            completed: What is known, hidden entries completed ``(n_spots, n_genes)``.
            touched: Genes of which an entry was hidden ``(n_genes,)``; other genes, and pairs of
                other genes, cannot differ and do not enter.

        Returns:
            ``moran_error`` over genes and ``correlation_error`` over pairs of genes; NaN when
            nothing entered.
        """
        moran = np.abs(self._entries.moran(completed) - self._moran)[touched]
        pairs = np.triu(touched[:, None] | touched, 1)
        correlation = np.abs(self._entries.correlation(completed) - self._correlation)[pairs]
        return {"moran_error": _mean(moran), "correlation_error": _mean(correlation)}


def _mean(values: _Floats) -> tuple[float, int]:
    defined = values[~np.isnan(values)]
    return (float(defined.mean()) if defined.size else float("nan")), int(defined.size)


def _adjacency(neighbours: NDArray[np.int32]) -> sparse.csr_matrix:
    present = neighbours >= 0
    pointers = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    columns = neighbours[present]
    shape = (neighbours.shape[0], neighbours.shape[0])
    return sparse.csr_matrix((np.ones(columns.size), columns, pointers), shape=shape)
