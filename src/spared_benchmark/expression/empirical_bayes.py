"""The equations of ComBat (Johnson, Li & Rabinovic 2007, Biostatistics 8:118), parametric.

Everything is computed from the number, mean and sum of squares of each gene in each batch, so
entries that a method may not see simply do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import InputError

Floats = NDArray[np.float64]

_TOLERANCE = 1e-10
_ROUNDS = 10_000


@dataclass(frozen=True)
class Moments:
    """What a batch's values of each gene sum up to.

    Attributes:
        count: Visible entries ``(n_genes,)``.
        mean: Their mean, 0 where there are none ``(n_genes,)``.
        squares: Σ (value − mean)² ``(n_genes,)``.
    """

    count: Floats
    mean: Floats
    squares: Floats


@dataclass(frozen=True)
class Reference:
    """The common scale to which every batch is brought.

    Attributes:
        mean: α, the mean over all spots of the reference ``(n_genes,)``.
        deviation: σ, the standard deviation within batches ``(n_genes,)``.
        varying: Genes that vary within a batch; the others cannot be corrected ``(n_genes,)``.
    """

    mean: Floats
    deviation: Floats
    varying: NDArray[np.bool_]


def moments(values: NDArray[np.floating], visible: NDArray[np.bool_] | None) -> Moments:
    """Sum up one batch.

    Args:
        values: ``(n_spots, n_genes)``.
        visible: Entries that count; all when not given.
    """
    wide = values.astype(np.float64, copy=False)
    if visible is None:
        count = np.full(wide.shape[1], float(wide.shape[0]))
        total = wide.sum(axis=0)
    else:
        count = visible.sum(axis=0).astype(np.float64)
        total = np.where(visible, wide, 0).sum(axis=0)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    residual = wide - mean
    if visible is not None:
        residual[~visible] = 0
    return Moments(count, mean, np.einsum("ij,ij->j", residual, residual))


def reference_of(batches: list[Moments]) -> Reference:
    """Pool batches: α is their mean weighted by spots, σ² the mean square within batches."""
    counts = np.stack([batch.count for batch in batches])
    spots = np.maximum(counts.sum(axis=0), 1)
    mean = (counts * np.stack([batch.mean for batch in batches])).sum(axis=0) / spots
    variance = np.stack([batch.squares for batch in batches]).sum(axis=0) / spots
    # A constant gene may leave rounding errors behind instead of exact zeros.
    varying = variance > 1e-12 * np.maximum(mean**2, 1e-12)
    return Reference(mean, np.sqrt(np.where(varying, variance, 1.0)), varying)


def posterior(batch: Moments, reference: Reference) -> tuple[Floats, Floats] | None:
    """Return a batch's location γ* and scale δ* on the standardised values ``(n_genes,)``.

    Genes share strength through priors: γ normal, δ² inverse gamma, both fitted by the method of
    moments over the genes of this batch. Genes without a visible entry take the priors' means.
    The fixed point γ* = (n τ² γ̂ + δ*² γ̄) / (n τ² + δ*²) and
    δ*² = (θ + Σ (z − γ*)² / 2) / (n / 2 + λ − 1) is reached by iteration.

    Returns:
        None when fewer than two genes have two visible entries: no prior can be fitted.

    Raises:
        InputError: When the iteration does not settle on finite numbers.
    """
    usable = reference.varying
    count = batch.count[usable]
    location = (batch.mean[usable] - reference.mean[usable]) / reference.deviation[usable]
    location = np.where(count > 0, location, 0.0)
    squares = batch.squares[usable] / reference.deviation[usable] ** 2
    twice = count >= 2
    if np.count_nonzero(twice) < 2:
        return None
    spread = squares[twice] / (count[twice] - 1)
    centre, width = location[twice].mean(), location[twice].var(ddof=1)
    average, variance = spread.mean(), spread.var(ddof=1)
    if average <= 0:
        return None
    # λ − 1 = 1 + m² / s² and θ = m (λ − 1); a floor under s² makes equal variances a limit.
    weight = 1 + average**2 / max(variance, 1e-12 * average**2)
    gamma, delta = location, np.full(location.shape, average)
    delta[twice] = np.maximum(spread, 1e-12 * average)
    for _ in range(_ROUNDS):
        before = gamma, delta
        strength = count * width
        gamma = (strength * location + delta * centre) / (strength + delta)
        around = squares + count * (location - gamma) ** 2
        delta = (average * weight + around / 2) / (count / 2 + weight)
        moved = np.abs(gamma - before[0]).max(), np.abs(delta / before[1] - 1).max()
        if max(moved) < _TOLERANCE:
            break
    else:
        moved = (np.inf, np.inf)
    if not np.isfinite(moved).all():
        msg = (
            f"ComBat did not settle within {_ROUNDS} rounds on a batch of at most "
            f"{int(count.max())} spots and {count.size} genes; look for values that are not finite"
        )
        raise InputError(msg)
    star = np.zeros(usable.size), np.ones(usable.size)
    star[0][usable], star[1][usable] = gamma, np.sqrt(delta)
    return star


def affine(location: Floats, scale: Floats, reference: Reference) -> tuple[Floats, Floats]:
    """Return slope and offset so that corrected = slope · value + offset ``(…, n_genes)``.

    The corrected value is σ (z − γ*) / δ* + α with z = (value − α) / σ; genes that do not vary
    keep their values.
    """
    slope = np.where(reference.varying, 1 / scale, 1.0)
    moved = reference.mean + reference.deviation * location
    offset = np.where(reference.varying, reference.mean - moved * slope, 0.0)
    return slope, offset
