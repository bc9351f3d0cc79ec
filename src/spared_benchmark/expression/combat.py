"""Batch correction by ComBat: over all slides (the paper), or against train slides only.

Transductive: the package ``pycombat`` (another implementation of the same published model than
the one the paper used), behind a guard against what turns its output into NaN. Inductive: the
batches of the train slides are pooled into a reference that is then frozen; a batch seen in
train keeps what was estimated there, and an unseen one is fitted alone, against the reference,
from its own values.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.expression.empirical_bayes import (
    Floats,
    Moments,
    Reference,
    affine,
    moments,
    posterior,
    reference_of,
)

logger = logging.getLogger(__name__)

# Tighter than the package's 1e-4, whose relative change ignores negative locations.
_CONVERGENCE = 1e-8


@dataclass(frozen=True)
class CombatFit:
    """A correction that is affine in each batch and gene: corrected = scale · value + shift.

    Attributes:
        batches: The batch codes, ascending ``(n_batches,)``.
        scale: ``(n_batches, n_genes)``.
        shift: ``(n_batches, n_genes)``.
        reference: What batches are brought to; None when nothing was corrected.
        skipped: Why nothing was corrected, or which batches were left as they are; "" if none.
    """

    batches: NDArray[np.integer]
    scale: Floats
    shift: Floats
    reference: Reference | None
    skipped: str

    def apply(
        self, values: NDArray[np.floating], batch: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """Return the corrected values, float32 ``(n_spots, n_genes)``.

        Args:
            values: ``(n_spots, n_genes)``.
            batch: Batch code of each spot ``(n_spots,)``; all must have been fitted.
        """
        place = np.minimum(np.searchsorted(self.batches, batch), self.batches.size - 1)
        if not np.array_equal(self.batches[place], batch):
            unknown = sorted(set(np.unique(batch).tolist()) - set(self.batches.tolist()))
            msg = (
                f"ComBat was not fitted for the batches {unknown}; it knows "
                f"{self.batches.tolist()}. Fit unseen ones with `unseen_batch`"
            )
            raise ContractError(msg)
        corrected = np.empty(values.shape, dtype=np.float32)
        for code, (scale, shift) in enumerate(zip(self.scale, self.shift, strict=True)):
            rows = place == code
            corrected[rows] = values[rows] * scale + shift
        return corrected


def fit_combat(
    values: NDArray[np.floating],
    batch: NDArray[np.integer],
    train: NDArray[np.bool_] | None = None,
    visible: NDArray[np.bool_] | None = None,
) -> CombatFit:
    """Fit the correction of every batch.

    Args:
        values: Expression ``(n_spots, n_genes)``, finite where visible.
        batch: Integer code of each spot's batch ``(n_spots,)``. Slides that share a code share an
            estimate; inductive: from their train spots if they have any.
        train: Spots of train slides ``(n_spots,)``: the inductive protocol. None: transductive,
            all spots alike.
        visible: Entries that count ``(n_spots, n_genes)``, inductive only; all when not given.

    Raises:
        InputError: When values are not finite, no spot is train, or ``visible`` comes without
            ``train``.
    """
    counted = values if visible is None else values[visible]
    if not np.isfinite(counted).all():
        bad = int(np.count_nonzero(~np.isfinite(counted)))
        msg = f"ComBat needs finite values; found {bad} of {counted.size} NaN or infinite"
        raise InputError(msg)
    if train is None:
        if visible is not None:
            msg = "ComBat over all slides takes complete values; give train with visible"
            raise InputError(msg)
        return _transductive(values, batch)
    if not train.any():
        msg = "inductive ComBat: no spot belongs to a train slide; its reference would be empty"
        raise InputError(msg)
    return _inductive(values, batch, train, visible)


def fit_reference(
    values: NDArray[np.floating],
    batch: NDArray[np.integer],
    visible: NDArray[np.bool_] | None = None,
) -> Reference:
    """Return the reference of the spots given, each batch weighted by its visible entries.

    Args:
        values: Expression of train spots ``(n_spots, n_genes)``.
        batch: Integer code of each spot's batch ``(n_spots,)``.
        visible: Entries that count ``(n_spots, n_genes)``; all when not given.
    """
    return reference_of([_moments(values, batch == code, visible) for code in np.unique(batch)])


def unseen_batch(
    values: NDArray[np.floating], visible: NDArray[np.bool_] | None, reference: Reference
) -> tuple[Floats, Floats]:
    """Fit one batch alone against a frozen reference.

    Args:
        values: Expression of the batch's spots ``(n_spots, n_genes)``.
        visible: Entries that count ``(n_spots, n_genes)``; all when None. The others are not
            read, whatever they hold.
        reference: From `fit_reference` or `CombatFit.reference`.

    Returns:
        ``scale`` and ``shift`` ``(n_genes,)``: corrected = scale · value + shift. The identity
        when fewer than two genes have two visible entries; this is logged.
    """
    fitted = posterior(moments(values, visible), reference)
    if fitted is None:
        logger.warning(
            "ComBat leaves a batch of %d spots as it is: fewer than two genes have two visible "
            "entries that vary",
            values.shape[0],
        )
        genes = values.shape[1]
        return np.ones(genes), np.zeros(genes)
    return affine(*fitted, reference)


def _transductive(values: NDArray[np.floating], batch: NDArray[np.integer]) -> CombatFit:
    codes, sizes = np.unique(batch, return_counts=True)
    genes = values.shape[1]
    reference = reference_of([_moments(values, batch == code, None) for code in codes])
    reason = _obstacle(codes, sizes, int(reference.varying.sum()))
    if reason:
        return _unchanged(codes, genes, reason)
    _report_constant(reference)
    varying = values if reference.varying.all() else values[:, reference.varying]
    location, scale = _by_pycombat(varying.astype(np.float64), batch)
    star = np.zeros((codes.size, genes)), np.ones((codes.size, genes))
    star[0][:, reference.varying], star[1][:, reference.varying] = location, scale
    return CombatFit(codes, *affine(*star, reference), reference, "")


def _by_pycombat(values: Floats, batch: NDArray[np.integer]) -> tuple[Floats, Floats]:
    from pycombat import Combat

    combat = Combat(conv=_CONVERGENCE).fit(values, batch)
    location, scale = combat.gamma_, np.sqrt(combat.delta_sq_)
    if not (np.isfinite(location).all() and np.isfinite(scale).all()):
        msg = (
            f"pycombat gave values that are not finite for {values.shape[0]} spots, "
            f"{values.shape[1]} genes and batches of {np.unique(batch, return_counts=True)[1]} "
            "spots; look for genes that are copies of one another"
        )
        raise InputError(msg)
    return location, scale


def _inductive(
    values: NDArray[np.floating],
    batch: NDArray[np.integer],
    train: NDArray[np.bool_],
    visible: NDArray[np.bool_] | None,
) -> CombatFit:
    codes = np.unique(batch)
    seen, sizes = np.unique(batch[train], return_counts=True)
    genes = values.shape[1]
    pooled = {code: _moments(values, train & (batch == code), visible) for code in seen}
    reference = reference_of(list(pooled.values()))
    if seen.size > 1 or reference.varying.sum() < 2:
        reason = _obstacle(seen, sizes, int(reference.varying.sum()))
        if reason:
            return _unchanged(codes, genes, reason)
    _report_constant(reference)
    scale, shift = np.ones((codes.size, genes)), np.zeros((codes.size, genes))
    left = []
    for place, code in enumerate(codes):
        if code in pooled and seen.size == 1:
            continue
        summed = pooled[code] if code in pooled else _moments(values, batch == code, visible)
        fitted = posterior(summed, reference)
        if fitted is None:
            left.append(int(code))
        else:
            scale[place], shift[place] = affine(*fitted, reference)
    reasons = []
    if seen.size == 1:
        reasons.append(
            f"batch {seen[0]}, the only one of train, is the reference and stays as it is"
        )
    if left:
        reasons.append(f"batches {left} are too small and stay as they are")
        logger.warning("ComBat: %s", reasons[-1])
    reason = "; ".join(reasons)
    return CombatFit(codes, scale, shift, reference, reason)


def _moments(
    values: NDArray[np.floating], rows: NDArray[np.bool_], visible: NDArray[np.bool_] | None
) -> Moments:
    return moments(values[rows], None if visible is None else visible[rows])


def _obstacle(codes: NDArray[np.integer], sizes: NDArray[np.integer], varying: int) -> str:
    if codes.size < 2:
        return "one batch only"
    if (sizes < 2).any():
        return f"batch {codes[sizes.argmin()]} has a single spot"
    if varying < 2:
        return f"{varying} genes vary within batches, at least 2 are needed"
    return ""


def _unchanged(codes: NDArray[np.integer], genes: int, reason: str) -> CombatFit:
    logger.warning("ComBat is skipped and values stay as they are: %s", reason)
    shape = (codes.size, genes)
    return CombatFit(codes, np.ones(shape), np.zeros(shape), None, reason)


def _report_constant(reference: Reference) -> None:
    constant = int(np.count_nonzero(~reference.varying))
    if constant:
        logger.warning("ComBat leaves %d genes as they are: constant within batches", constant)
