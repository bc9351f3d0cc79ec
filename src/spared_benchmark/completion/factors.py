"""Probabilistic principal components with missing entries, by expectation maximisation.

The model (Tipping and Bishop 1999; missing entries: Ilin and Raiko 2010): the values of spot i of
slide s are x_i = m_s + W z_i + e_i with scores z_i ~ N(0, I) and noise e_ij ~ N(0, v_j). Sums run
over visible entries only, so an entry that is not visible has no part in any estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# How many entries of a slide its first guess of a gene's mean is worth.
MEAN_WEIGHT = 5.0
_NOISE_LEAST = 1e-9
_LOADING_WEIGHT_LEAST = 1e-3  # a gene that is nowhere visible still has a solution

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factors:
    """What the genes share.

    Attributes:
        loadings: W ``(n_genes, rank)``.
        noise: Variance v of each gene ``(n_genes,)``.
    """

    loadings: _Floats
    noise: _Floats


@dataclass(frozen=True, eq=False)
class Data:
    """Values as deviations from a first guess of each slide's gene means.

    Attributes:
        values: 0 wherever not visible ``(n_spots, n_genes)``.
        visible: As numbers ``(n_spots, n_genes)``.
        slide: Number of each spot's slide, from 0 ``(n_spots,)``.
    """

    values: _Floats
    visible: _Floats
    slide: NDArray[np.intp]


def first_factors(data: Data, rank: int) -> Factors:
    """Return the leading components of the values with 0 at missing entries, to start from."""
    n_spots = max(len(data.values), 1)
    variances, vectors = np.linalg.eigh(data.values.T @ data.values / n_spots)
    leading = np.maximum(variances[::-1][:rank], 0.0)
    loadings = vectors[:, ::-1][:, :rank] * np.sqrt(leading)
    counts = np.maximum(data.visible.sum(axis=0), 1.0)
    noise = np.maximum(np.square(data.values).sum(axis=0) / counts, _NOISE_LEAST)
    return Factors(loadings, noise)


def scores_of(values: _Floats, visible: _Floats, factors: Factors) -> tuple[_Floats, _Floats]:
    """Return posterior means ``(n_spots, rank)`` and covariances ``(n_spots, rank, rank)``."""
    n_genes, rank = factors.loadings.shape
    weighted = factors.loadings / factors.noise[:, None]
    outer = np.einsum("gq,gr->gqr", factors.loadings, weighted).reshape(n_genes, rank * rank)
    precision = (visible @ outer).reshape(len(visible), rank, rank) + np.eye(rank)
    covariance = np.linalg.inv(precision)
    means = np.einsum("nqr,nr->nq", covariance, values @ weighted)
    return means, covariance


def fit_factors(
    data: Data, start: Factors, rounds: int, loading_weight: float, noise_weight: float
) -> tuple[Factors, _Floats]:
    """Run rounds of expectation maximisation.

    Args:
        data: Spots of one or more slides.
        start: Where loadings and noise begin, and what they are shrunk to.
        rounds: How many.
        loading_weight: How many spots the loadings of ``start`` are worth; 0 only starts from
            them.
        noise_weight: How many entries the genes' common noise is worth in each gene's.

    Returns:
        The factors, and the expected values ``(n_spots, n_genes)`` under them, as deviations from
        the same first guess as ``data``.
    """
    factors = start
    slides = np.eye(data.slide.max(initial=0) + 1)[data.slide]
    counts = slides.T @ data.visible
    shifts = np.zeros_like(counts)
    for _ in range(rounds):
        centred = data.visible * (data.values - slides @ shifts)
        means, covariance = scores_of(centred, data.visible, factors)
        moments = _Moments.of(centred, data.visible, means, covariance)
        factors = moments.maximised(start, loading_weight, noise_weight)
        errors = data.visible * (data.values - means @ factors.loadings.T)
        shifts = (slides.T @ errors) / (counts + MEAN_WEIGHT)
    centred = data.visible * (data.values - slides @ shifts)
    means, _ = scores_of(centred, data.visible, factors)
    return factors, slides @ shifts + means @ factors.loadings.T


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over each gene's visible entries, scores by their posterior.

    Attributes:
        count: Entries ``(n_genes,)``.
        squares: Σ x² ``(n_genes,)``.
        cross: Σ x E[z] ``(n_genes, rank)``.
        second: Σ E[z zᵀ] ``(n_genes, rank, rank)``.
    """

    count: _Floats
    squares: _Floats
    cross: _Floats
    second: _Floats

    @classmethod
    def of(
        cls, centred: _Floats, visible: _Floats, means: _Floats, covariance: _Floats
    ) -> _Moments:
        n_spots, rank = means.shape
        outer = covariance + means[:, :, None] * means[:, None, :]
        second = visible.T @ outer.reshape(n_spots, rank * rank)
        return cls(
            count=visible.sum(axis=0),
            squares=np.square(centred).sum(axis=0),
            cross=centred.T @ means,
            second=second.reshape(visible.shape[1], rank, rank),
        )

    def maximised(self, start: Factors, loading_weight: float, noise_weight: float) -> Factors:
        """Return the factors of highest expected posterior; arguments as of `fit_factors`."""
        weight = max(loading_weight, _LOADING_WEIGHT_LEAST)
        moments = self.second + weight * np.eye(start.loadings.shape[1])
        cross = self.cross + weight * start.loadings
        solved = np.linalg.solve(moments, cross[:, :, None])[:, :, 0]
        loadings = np.asarray(solved, dtype=np.float64)
        explained = np.einsum("gq,gq->g", loadings, self.cross)
        quadratic = np.einsum("gq,gqr,gr->g", loadings, self.second, loadings)
        squares = np.maximum(self.squares - 2 * explained + quadratic, 0.0)
        common = squares.sum() / max(self.count.sum(), 1.0)
        total = np.maximum(self.count + noise_weight, 1.0)
        noise = (squares + noise_weight * common) / total
        return Factors(loadings, np.maximum(noise, _NOISE_LEAST))
