"""How much a completed entry counts in the loss, by how sure its completer is of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.names import WEIGHTED
from spared_benchmark.registry import Card


def entry_weights(
    values: NDArray[np.float32],
    sd: NDArray[np.floating[Any]],
    measured: NDArray[np.bool_],
    train: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return what each entry counts in a squared error, float32 ``(n_spots, n_genes)``.

    A predictor knows a spot by its image alone: a measured value is ``y = f(image) + e``, where
    ``e`` has a variance of at most ``tau²_j``, that of gene ``j`` over spots. What stands for a
    missing one is off from it by the completion's own error: ``f(image) + e + d``. With ``d`` of
    variance ``sd²`` and independent of ``e`` that is an observation of variance
    ``tau²_j + sd²``. Of all linear estimates of ``f`` without bias the one of least variance
    weights squared errors by the inverse of each observation's variance (Aitken, Proceedings of
    the Royal Society of Edinburgh 55, 1935); with 1 for what was measured that is

        ``tau²_j / (tau²_j + sd²)``.

    It is a choice and no optimum. Where images explain much of a gene, ``e`` varies less than
    ``tau²_j`` says, and completed entries should count less than this; a completer that gives
    conditional means scatters less than what it stands for, and they should count more.

    Args:
        values: The target ``(n_spots, n_genes)``.
        sd: Standard deviation of completed entries in the same units ``(n_spots, n_genes)``; not
            read where measured.
        measured: Which entries were measured ``(n_spots, n_genes)``.
        train: Whether a spot's slide is for training ``(n_spots,)``; ``tau²_j`` is the variance
            over the measured entries of those alone. A gene with fewer than two of them takes the
            mean of the others.
    """
    known = measured & train[:, None]
    count = known.sum(axis=0)
    kept = np.where(known, values, 0).astype(np.float64)
    mean = kept.sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, np.square(kept - mean), 0).sum(axis=0)
    spread = squares / np.maximum(count, 1)
    several = count > 1
    spread = np.where(several, spread, spread[several].mean() if several.any() else 1.0)
    doubt = np.where(measured, 0, np.square(sd, dtype=np.float64))
    # A gene that does not vary has nothing to be unsure of, unless its completer is.
    total = spread + doubt
    share = np.ones(values.shape, dtype=np.float64)
    np.divide(spread, total, out=share, where=total > 0)
    return share.astype(np.float32)


def takers() -> list[str]:
    """Return the predictors in whose loss entries may count by fractions."""
    return [name for name in predictors.available() if predictors.card(name).weighs]


def check_weighs(card: Card, target: str) -> None:
    """Refuse a weighted target for a predictor whose loss knows only entries that count or do not.

    Raises:
        ConfigurationError: Naming the predictors that take it.
    """
    if not card.weighs:
        raise ConfigurationError(refusal(card.name, target))


def refusal(predictor: str, target: str) -> str:
    """Return why ``predictor`` cannot be trained on ``target``, and what can be done."""
    return (
        f"{predictor} cannot be trained on {target!r}: in its loss an entry counts or does not, "
        f"and none counts by a fraction. Train it on {target.removesuffix(WEIGHTED)!r}, or take "
        f"one of {', '.join(takers())}"
    )
