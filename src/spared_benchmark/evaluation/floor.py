"""The Poisson floor: the error of log expression that no method can avoid.

A count is drawn around the tissue's true rate; even a method that knew the rate would miss
log2(TPM+1) by the variance of that draw, given that the count is not zero. The rates of a gene on
a slide are taken as draws from a mixture on a grid, fitted by EM to all its spots (non-parametric
maximum likelihood: Kiefer and Wolfowitz 1956; Laird 1978). Duplicated molecules and diffusion make
real noise larger, so this is a lower bound. The depth of a spot is taken as known; where a method
is not told it (whole spots hidden), what is unknown of log depth adds to what it must miss, and
the floor lies the farther below what can be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
from scipy.special import gammaln, xlogy

from spared_benchmark.errors import InputError

GRID = 60
ROUNDS = 300
# Genes fitted together: their likelihoods (genes × spots × grid) then stay in the cache.
_GENES_AT_ONCE = 8
# Above this mean the variance of log2 of a Poisson count is 1 / (mean ln² 2) to 0.3 %.
_LARGE_MEAN = 400.0
_SMALL_MEAN = 1e-4
_LOG_MEANS = np.linspace(np.log(_SMALL_MEAN), np.log(_LARGE_MEAN), 600)
_EXPOSURE_NODES = 16
# A million in 1 TPM: what a count adds to the denominator of its own TPM.
_OWN = 1e-6
# A spot in which a gene is nearly alone: the others' share is taken as at least this.
_LEAST_OTHERS = 1e-3

_Floats = NDArray[np.float64]


def one_count(gene_length: ArrayLike, tpm_denominator: ArrayLike) -> _Floats:
    """Return the TPM that one count is worth, k = 1e6 / (L S) ``(n_spots, n_genes)``.

    Args:
        gene_length: L ``(n_genes,)``.
        tpm_denominator: S, the sum of count / length of each spot ``(n_spots,)``.
    """
    lengths = np.asarray(gene_length, dtype=np.float64)
    denominators = np.asarray(tpm_denominator, dtype=np.float64)
    with np.errstate(divide="ignore"):
        worth: _Floats = 1e6 / (lengths[None, :] * denominators[:, None])
    return worth


def poisson_noise(
    counts: ArrayLike, gene_length: ArrayLike, tpm_denominator: ArrayLike, slide: ArrayLike
) -> _Floats:
    """Return the expected sampling variance of log2(TPM+1) of every entry, given a count.

    A count takes part in its own denominator, so expected counts are scaled by the exposure of
    the spot's other genes, and a value is log2(1 + 1e6 c / (d + c)) with d the others' sum of
    count / length in units of one count of this gene. A gene that makes up most of a spot has
    hardly any noise.

    Args:
        counts: Molecules ``(n_spots, n_genes)``, zeros included.
        gene_length: ``(n_genes,)``.
        tpm_denominator: Sum of count / length of each spot ``(n_spots,)``.
        slide: Slide of each spot ``(n_spots,)``; every slide has its own mixtures.

    Returns:
        Variances ``(n_spots, n_genes)`` in squared log2 units; NaN throughout when counts are not
        whole numbers, because such values have no Poisson noise to speak of.

    Raises:
        InputError: For negative counts or lengths and denominators that are not positive.
    """
    noise: _Floats = thinned_noise(counts, gene_length, tpm_denominator, slide, (1.0,))[0]
    return noise


def thinned_noise(
    counts: ArrayLike,
    gene_length: ArrayLike,
    tpm_denominator: ArrayLike,
    slide: ArrayLike,
    shares: Sequence[float],
) -> _Floats:
    """Return `poisson_noise` of values at a share of the depth, such as half of the molecules.

    The rates, and what all of a spot's molecules tell of them, are those of the full depth: two
    halves together tell of a rate what their sum does. What the share changes is the noise around
    a rate. A spot's share of exposure is taken as the share of molecules.

    Args:
        counts: See `poisson_noise`: all molecules.
        gene_length: ``(n_genes,)``.
        tpm_denominator: ``(n_spots,)``.
        slide: ``(n_spots,)``.
        shares: Of the molecules, each above 0 and at most 1.

    Returns:
        Variances ``(n_shares, n_spots, n_genes)``; one fit of rates serves all shares.

    Raises:
        InputError: As `poisson_noise`.
    """
    molecules = np.asarray(counts, dtype=np.float64)
    unit = one_count(gene_length, tpm_denominator)
    if (molecules < 0).any() or not (np.isfinite(unit) & (unit > 0)).all():
        msg = (
            "poisson_noise needs counts >= 0 and gene lengths and TPM denominators > 0; found "
            f"{int((molecules < 0).sum())} negative counts and "
            f"{int((~(np.isfinite(unit) & (unit > 0))).sum())} entries without exposure"
        )
        raise InputError(msg)
    noise = np.full((len(shares), *molecules.shape), np.nan)
    if not np.array_equal(molecules, np.floor(molecules)):
        return noise
    whole = 1.0 / unit
    exposure = np.maximum(whole - _OWN * molecules, _LEAST_OTHERS * whole)
    labels = np.asarray(slide)
    for label in np.unique(labels):
        of_slide = np.flatnonzero(labels == label)
        for start in range(0, molecules.shape[1], _GENES_AT_ONCE):
            genes = np.arange(start, min(start + _GENES_AT_ONCE, unit.shape[1]))
            block = np.ix_(of_slide, genes)
            found = _slide_noise(molecules[block].T, exposure[block].T, shares)
            noise[:, of_slide[:, None], genes] = found.transpose(0, 2, 1)
    return noise


def poisson_floor(
    counts: ArrayLike,
    gene_length: ArrayLike,
    tpm_denominator: ArrayLike,
    scored: ArrayLike,
    slide: ArrayLike,
) -> pd.DataFrame:
    """Return the lowest mean squared error possible on the scored entries.

    Args:
        counts: Molecules ``(n_spots, n_genes)``.
        gene_length: ``(n_genes,)``.
        tpm_denominator: ``(n_spots,)``.
        scored: Entries that are scored, each with a count ``(n_spots, n_genes)``, boolean.
        slide: ``(n_spots,)``.

    Returns:
        Columns ``slide`` (empty for pooled), ``metric`` (``mse``), ``value``, ``n``.
    """
    noise = poisson_noise(counts, gene_length, tpm_denominator, slide)
    return mean_noise(noise, np.asarray(scored, dtype=bool), slide)


def mean_noise(noise: _Floats, scored: NDArray[np.bool_], slide: ArrayLike) -> pd.DataFrame:
    """Return the mean of ``noise`` over the scored entries, per slide and pooled."""
    labels = np.asarray(slide).astype(str)
    rows = []
    for label in [*dict.fromkeys(labels.tolist()), ""]:
        inside = scored if label == "" else scored & (labels == label)[:, None]
        count = int(inside.sum())
        rows.append((label, "mse", float(noise[inside].mean()) if count else np.nan, count))
    return pd.DataFrame(rows, columns=["slide", "metric", "value", "n"])


def ceiling_correlation(
    truth: ArrayLike, noise: _Floats, scored: NDArray[np.bool_], slide: ArrayLike
) -> pd.DataFrame:
    """Return the highest correlation possible, sqrt(1 − noise / variance) of each gene.

    A gene whose noise exceeds its variance has a ceiling of 0. Genes are averaged within slides,
    then slides, as the correlation itself is.

    Returns:
        Columns ``slide`` (empty for pooled), ``metric`` (``pcc_gene``), ``value``, ``n`` (genes).
    """
    labels = np.asarray(slide).astype(str)
    values = np.where(scored, np.asarray(truth, dtype=np.float64), np.nan)
    rows: list[tuple[str, str, float, int]] = []
    for label in dict.fromkeys(labels.tolist()):
        inside = (labels == label) & scored.any(axis=1)
        enough = scored[inside].sum(axis=0) >= 2
        variance = np.nanvar(values[inside][:, enough], axis=0)
        total = np.where(scored[inside], noise[inside], 0.0)[:, enough].sum(axis=0)
        error = total / scored[inside][:, enough].sum(axis=0)
        varied = (variance > 0) & ~np.isnan(error)
        ceiling = np.sqrt(np.clip(1 - error[varied] / variance[varied], 0.0, 1.0))
        mean = float(ceiling.mean()) if ceiling.size else float("nan")
        rows.append((label, "pcc_gene", mean, int(ceiling.size)))
    defined = [value for _, _, value, _ in rows if not np.isnan(value)]
    pooled = float(np.mean(defined)) if defined else float("nan")
    rows.append(("", "pcc_gene", pooled, sum(count for *_, count in rows)))
    return pd.DataFrame(rows, columns=["slide", "metric", "value", "n"])


def truncated_variance(mean: ArrayLike, exposure: ArrayLike, own: float = 0.0) -> _Floats:
    """Return Var[log2(1 + C / (e + own C))] of Poisson counts C >= 1, summed exactly.

    Args:
        mean: Expected count (any shape, at most 400).
        exposure: e = 1 / k, the share of a count that one TPM is worth (broadcast).
        own: What each count adds to that: 1e-6 for TPM whose denominator leaves this gene out.
    """
    rate = np.asarray(mean, dtype=np.float64)[..., None]
    offset = np.asarray(exposure, dtype=np.float64)[..., None]
    numbers, weight = _truncated_poisson(rate)
    value = np.log2(1 + numbers / (offset + own * numbers))
    average = (weight * value).sum(axis=-1, keepdims=True)
    variance: _Floats = (weight * (value - average) ** 2).sum(axis=-1)
    return variance


def _truncated_poisson(rate: _Floats) -> tuple[_Floats, _Floats]:
    """Return counts from 1 on ``(n,)`` and their probabilities given a count ``(..., n)``."""
    top = float(rate.max(initial=0.0))
    numbers = np.arange(1.0, np.ceil(top + 12 * np.sqrt(top) + 30) + 1)
    logarithm = xlogy(numbers, rate) - rate - gammaln(numbers + 1)
    weight = np.exp(logarithm - logarithm.max(axis=-1, keepdims=True))
    weight /= weight.sum(axis=-1, keepdims=True)
    return numbers, weight


def _slide_noise(counts: _Floats, exposure: _Floats, shares: Sequence[float]) -> _Floats:
    """Return the noise ``(n_shares, n_genes, n_spots)`` of some genes of one slide."""
    rates = _rate_grid(counts, exposure)
    means = exposure[:, :, None] * rates[:, None, :]
    posterior = _posterior(counts, means)
    return np.stack(
        [
            (posterior * _interpolated_variance(share * means, share * exposure)).sum(axis=2)
            for share in shares
        ]
    )


def _rate_grid(counts: _Floats, exposure: _Floats) -> _Floats:
    """Return log-spaced candidate rates ``(n_genes, GRID)`` around those the counts allow."""
    total_exposure = exposure.sum(axis=1)
    lowest = 0.05 * np.maximum(counts.sum(axis=1), 1.0) / total_exposure
    highest = 2 * ((counts + 1) / exposure).max(axis=1)
    return np.geomspace(lowest, np.maximum(highest, 1.01 * lowest), GRID, axis=1)


def _posterior(counts: _Floats, means: _Floats) -> _Floats:
    """Return the weight of every rate for every spot ``(n_genes, n_spots, GRID)`` after EM."""
    logarithm = xlogy(counts[:, :, None], means) - means
    logarithm -= logarithm.max(axis=2, keepdims=True)
    likelihood = np.exp(logarithm)
    weights = np.full((counts.shape[0], GRID, 1), 1 / GRID)
    for _ in range(ROUNDS):
        evidence = likelihood @ weights
        weights *= likelihood.transpose(0, 2, 1) @ (1 / evidence) / counts.shape[1]
    posterior: _Floats = likelihood * weights.transpose(0, 2, 1)
    posterior /= posterior.sum(axis=2, keepdims=True)
    return posterior


def _interpolated_variance(means: _Floats, exposure: _Floats) -> _Floats:
    """Return `truncated_variance` of ``means`` from a table: summing each would take minutes."""
    log_exposure = np.log(exposure)
    nodes = np.linspace(log_exposure.min() - 1e-9, log_exposure.max() + 1e-9, _EXPOSURE_NODES)
    place_mean = _place(np.log(means), _LOG_MEANS)
    place_exposure = np.broadcast_to(_place(log_exposure, nodes)[:, :, None], means.shape)
    table = _variance_table(np.exp(nodes))
    inside = map_coordinates(table, [place_mean, place_exposure], order=1, mode="nearest")
    others = exposure[:, :, None] / (exposure[:, :, None] + _OWN * means)
    return np.where(means > _LARGE_MEAN, others**2 / (means * np.log(2) ** 2), inside)


def _variance_table(exposure: _Floats) -> _Floats:
    """Return `truncated_variance` at the nodes of the table ``(n_means, n_exposures)``."""
    numbers, weight = _means_of_table()
    value = np.log2(1 + numbers / (exposure[:, None] + _OWN * numbers))
    # Moments about a value within the range: the difference of squares loses no digits then.
    value -= value.mean(axis=1, keepdims=True)
    variance: _Floats = weight @ (value**2).T - (weight @ value.T) ** 2
    return np.maximum(variance, 0.0)


@cache
def _means_of_table() -> tuple[_Floats, _Floats]:
    return _truncated_poisson(np.exp(_LOG_MEANS)[:, None])


def _place(values: _Floats, nodes: _Floats) -> _Floats:
    place: _Floats = (values - nodes[0]) / (nodes[1] - nodes[0])
    return place
