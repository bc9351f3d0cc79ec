"""Low values: hidden as counting loses them, with a probability that falls with the value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from spared_benchmark.completion.regimes.ground import Ground


def hidden(ground: Ground, fraction: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return the hidden entries ``(n_spots, n_genes)``; a larger share contains a smaller one.

    An entry of value y is hidden with probability 1 / (1 + exp(slope · y − level)). The slope is
    that of the dropout curve of the train slides (`dropout_slope`); the level is set on each
    slide so that the mean over its measured entries is the share: probabilities scaled by a
    factor would exceed 1.
    """
    slope = dropout_slope(ground)
    eligible, drawn = ground.eligible, generator.random(ground.measured.shape)
    withheld = np.zeros_like(eligible)
    for rows in ground.slides("val", "test"):
        entries = eligible[rows]
        steepness = -slope * ground.values[rows].astype(np.float64)
        if entries.any():
            level = _level(steepness[entries], fraction)
            withheld[rows] = drawn[rows] < expit(steepness + level)
    return eligible & withheld


def dropout_slope(ground: Ground) -> float:
    """Return how steeply the log-odds of a missing entry fall with expression, per log2 unit.

    A straight line through the log-odds of the missing share of each gene on each train slide
    against log2 of its mean TPM + 1, zeros included, by weighted least squares (minimum logit
    chi-square: Berkson 1944, J. Am. Stat. Assoc. 39:357). One half is added to both counts, so
    that genes found everywhere or nowhere have odds. 0, which hides as `entries` does, where the
    curve does not fall.
    """
    levels, odds, weights = [], [], []
    for rows in ground.slides("train"):
        measured = ground.measured[rows]
        tpm = np.where(measured, np.exp2(ground.values[rows].astype(np.float64)) - 1, 0.0)
        levels.append(np.log2(1 + tpm.mean(axis=0)))
        share = ((~measured).sum(axis=0) + 0.5) / (rows.size + 1)
        odds.append(logit(share))
        weights.append(rows.size * share * (1 - share))
    level, outcome, weight = (np.concatenate(parts) for parts in (levels, odds, weights))
    weight = weight / weight.sum()
    centred = level - weight @ level
    variance = float(weight @ centred**2)
    if variance == 0:
        return 0.0
    return max(0.0, -float(weight @ (centred * outcome)) / variance)


def _level(steepness: NDArray[np.float64], fraction: float) -> float:
    """Return what to add to the log-odds so that the mean probability is ``fraction``."""
    target = float(logit(fraction))
    low, high = target - float(steepness.max()), target - float(steepness.min())
    if low == high:
        return low
    return float(brentq(lambda level: float(expit(steepness + level).mean()) - fraction, low, high))
