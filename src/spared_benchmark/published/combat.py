"""ComBat as the published library computes it: the package ``combat`` 0.3.3, fault included.

The equations are those of Johnson, Li & Rabinovic 2007 (Biostatistics 8:118) with four
differences: each update of the scales measures all genes from where the first gene's batch lies,
not from their own places; all variances are divided by n, not n − 1; the iteration ends at a
relative change of 1e-4, and changes of negative locations count as negative, so they do not keep
it going; and a gene without variance within batches makes every value of every gene NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import InputError
from spared_benchmark.expression.combat import CombatFit
from spared_benchmark.expression.empirical_bayes import (
    Floats,
    Moments,
    Reference,
    affine,
    moments,
    reference_of,
)

_CONVERGENCE = 1e-4
_ROUNDS = 1_000_000


def published_combat(
    values: NDArray[np.floating],
    batch: NDArray[np.integer],
    genes: Sequence[str] | None = None,
) -> CombatFit:
    """Fit the published correction of every batch; it depends on which gene is the first.

    Args:
        values: Expression ``(n_spots, n_genes)``, finite.
        batch: Integer code of each spot's batch ``(n_spots,)``.
        genes: Names of the genes, for messages ``(n_genes,)``; positions when not given.

    Raises:
        InputError: Where the published package gives NaN or fails: a gene without variance
            within batches, one batch, a batch of one spot, values that are not finite, or
            batches in which all genes have one variance.
    """
    codes, sizes = np.unique(batch, return_counts=True)
    _refuse_batches(codes, sizes)
    if not np.isfinite(values).all():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        msg = f"published ComBat needs finite values; found {bad} of {values.size} NaN or infinite"
        raise InputError(msg)
    summed = [moments(values[batch == code], None) for code in codes]
    reference = reference_of(summed)
    _refuse_constant(reference, genes)
    maps = [
        affine(*_posterior(_standardised(one, reference), int(code)), reference)
        for one, code in zip(summed, codes, strict=True)
    ]
    scale, shift = (np.stack(part) for part in zip(*maps, strict=True))
    return CombatFit(codes, scale, shift, reference, "")


@dataclass(frozen=True)
class _Batch:
    """A batch on the common scale: spots, location γ̂ and sum of squares around it by gene."""

    spots: float
    location: Floats
    squares: Floats


def _standardised(batch: Moments, reference: Reference) -> _Batch:
    location = (batch.mean - reference.mean) / reference.deviation
    return _Batch(float(batch.count[0]), location, batch.squares / reference.deviation**2)


def _posterior(batch: _Batch, code: int) -> tuple[Floats, Floats]:
    """Return γ* and δ* of a batch ``(n_genes,)``, where the published iteration stops."""
    spread = batch.squares / batch.spots
    centre, width = batch.location.mean(), batch.location.var()
    average, variance = spread.mean(), spread.var()
    if variance == 0:
        msg = (
            f"published ComBat: in batch {code} all {spread.size} genes have one variance, which "
            "the published package turns into NaN everywhere; keep at least two genes that differ"
        )
        raise InputError(msg)
    shape = (2 * variance + average**2) / variance
    rate = (average * variance + average**3) / variance
    gamma, delta = batch.location, spread
    for _ in range(_ROUNDS):
        before = gamma, delta
        strength = batch.spots * width
        gamma = (strength * batch.location + delta * centre) / (strength + delta)
        around = batch.squares + batch.spots * (batch.location - gamma[0]) ** 2
        delta = (around / 2 + rate) / (batch.spots / 2 + shape - 1)
        change = max(
            (np.abs(gamma - before[0]) / before[0]).max(),
            (np.abs(delta - before[1]) / before[1]).max(),
        )
        if not change > _CONVERGENCE:
            break
    return gamma, np.sqrt(delta)


def _refuse_batches(codes: NDArray[np.integer], sizes: NDArray[np.integer]) -> None:
    if codes.size < 2 or sizes.min() < 2:
        found = ", ".join(
            f"batch {code}: {size} spots" for code, size in zip(codes, sizes, strict=True)
        )
        msg = (
            "published ComBat needs at least two batches of at least two spots each; found "
            f"{found}. Switch `published` off: our own ComBat leaves such values as they are"
        )
        raise InputError(msg)


def _refuse_constant(reference: Reference, genes: Sequence[str] | None) -> None:
    constant = np.flatnonzero(~reference.varying)
    if constant.size:
        named = [
            f"at position {place}" if genes is None else genes[place] for place in constant.tolist()
        ]
        msg = (
            f"published ComBat: {constant.size} of {reference.varying.size} genes are constant "
            f"within every batch (gene {', gene '.join(named[:5])}{', …' if named[5:] else ''}), "
            "and the published package then turns every value of every gene into NaN. Leave such "
            "genes out, or switch `published` off: our own ComBat leaves them as they are"
        )
        raise InputError(msg)
