"""Does told uncertainty hold? Shares of true values within intervals, and transforms of counts.

An interval that is to hold 90 % of what is measured must hold 90 %, and among forecasts of which
that is true the narrow ones are the better: "maximise sharpness subject to calibration" (Gneiting,
Balabdaoui and Raftery, Journal of the Royal Statistical Society B 69, 2007). Coverage over all
entries may hide that high values are covered too often and low ones too seldom, so it is also taken
within tenths of what was told.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

from spared_benchmark.errors import ContractError

_Floats = NDArray[np.floating[Any]]
# By which probabilities that were subtracted from one another may lie beyond 0 and 1.
_ROUNDING = 1e-9


def coverage(truth: _Floats, lower: _Floats, upper: _Floats) -> float:
    """Return the share of true values that lie within their interval, ends included.

    Args:
        truth: ``(n,)``.
        lower: Lower ends ``(n,)``.
        upper: Upper ends ``(n,)``.

    Returns:
        From 0 to 1; NaN of no value.

    Raises:
        ContractError: When shapes differ or a lower end lies above its upper one.
    """
    inside = _inside(truth, lower, upper)
    return float(inside.mean()) if inside.size else float("nan")


def coverage_by_decile(
    value: _Floats, truth: _Floats, lower: _Floats, upper: _Floats
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return coverage within tenths of what was told, from its lowest to its highest, with counts.

    What was told is known before the truth is, so a calibrated forecast has the same coverage in
    each tenth; tenths of the truth itself would not, of any forecast. Equal values are kept
    together, so tenths of values with ties differ in size.

    Args:
        value: What was told, by which values are sorted into tenths ``(n,)``.
        truth: ``(n,)``.
        lower: Lower ends ``(n,)``.
        upper: Upper ends ``(n,)``.

    Returns:
        Coverage ``(10,)``, NaN of a tenth with no value, and values in each tenth ``(10,)``.

    Raises:
        ContractError: As `coverage`.
    """
    inside = _inside(truth, lower, upper)
    if value.shape != inside.shape:
        msg = f"value has shape {value.shape}, truth {inside.shape}; they need one"
        raise ContractError(msg)
    if not inside.size:
        return np.full(10, np.nan), np.zeros(10, dtype=np.int64)
    edges = np.quantile(value.astype(np.float64), np.arange(1, 10) / 10)
    tenth = np.searchsorted(edges, value.astype(np.float64), side="left")
    count = np.bincount(tenth, minlength=10).astype(np.int64)
    held = np.bincount(tenth, weights=inside, minlength=10)
    return np.where(count > 0, held / np.maximum(count, 1), np.nan), count


def randomised_pit(
    lower_cdf: _Floats, upper_cdf: _Floats, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the randomised probability integral transform of discrete values.

    Of a count ``x`` with told distribution ``F`` it is uniform between ``F(x - 1)`` and ``F(x)``,
    and over many counts uniform on [0, 1] when they come from what was told of them (Czado,
    Gneiting and Held, Biometrics 65, 2009, eq. 1). Of counts that are known to be above 0, both
    are those of the distribution cut at 0.

    Args:
        lower_cdf: ``F(x - 1)`` of each value ``(n,)``.
        upper_cdf: ``F(x)`` of each value ``(n,)``.
        generator: Of the draws.

    Raises:
        ContractError: When shapes differ, or the values are no such pair of probabilities.
    """
    low, high = (np.asarray(given, dtype=np.float64) for given in (lower_cdf, upper_cdf))
    _same_shape(lower_cdf=low, upper_cdf=high)
    ordered = (low >= -_ROUNDING) & (low <= high + _ROUNDING) & (high <= 1 + _ROUNDING)
    wrong = int((~ordered).sum())
    if wrong:
        msg = (
            f"{wrong} of {low.size} pairs of probabilities are not 0 <= lower_cdf <= upper_cdf "
            "<= 1; give F(x - 1) and F(x) of each value"
        )
        raise ContractError(msg)
    drawn = low + generator.random(low.shape) * (high - low)
    return np.clip(drawn, 0, 1)


def distance_from_uniform(transformed: _Floats) -> float:
    """Return the largest distance of values' distribution from the uniform one on [0, 1].

    Kolmogorov's; of n values from the uniform distribution about 0.87 / √n.

    Args:
        transformed: ``(n,)``.

    Returns:
        From 0 to 1; NaN of no value.
    """
    if not transformed.size:
        return float("nan")
    return float(kstest(transformed, "uniform").statistic)


def _inside(truth: _Floats, lower: _Floats, upper: _Floats) -> NDArray[np.bool_]:
    _same_shape(truth=truth, lower=lower, upper=upper)
    wrong = int((~(lower <= upper)).sum())
    if wrong:
        msg = f"{wrong} of {lower.size} intervals have a lower end that is not below the upper one"
        raise ContractError(msg)
    return np.asarray((lower <= truth) & (truth <= upper))


def _same_shape(**arrays: _Floats) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        msg = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ContractError(f"shapes differ: {msg}; each value needs one of each")
