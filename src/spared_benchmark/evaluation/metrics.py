"""Errors and correlations on measured entries, per slide and pooled.

Mean errors are taken over entries. Correlation and R² are taken per gene or per spot within a
slide, then averaged; the pooled value is the mean over slides. Pooling spots of several slides
before correlating would reward a method that only knows which slide a spot lies on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spared_benchmark.errors import ConfigurationError, InputError, nearest
from spared_benchmark.evaluation.correlation import centred, correlation

METRICS = ("mse", "mae", "pcc_gene", "pcc_spot", "r2_gene", "r2_spot")
GENE_METRICS = ("mse", "mae", "pcc_gene", "r2_gene")
_OVER_ENTRIES = ("mse", "mae")
POOLED = ""

_Values = NDArray[np.float64]
_Entries = NDArray[np.bool_]


def scores(
    truth: ArrayLike,
    prediction: ArrayLike,
    measured: ArrayLike,
    slide: ArrayLike,
    metrics: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """Score a prediction on measured entries, per slide and pooled.

    Args:
        truth: Values ``(n_spots, n_genes)``.
        prediction: Values of the same shape and unit.
        measured: The entries that count ``(n_spots, n_genes)``, boolean.
        slide: Label of each spot's slide ``(n_spots,)``.
        metrics: Which of `METRICS`.

    Returns:
        Columns ``slide`` (empty for pooled), ``metric``, ``value``, ``n``: the entries, genes or
        spots that entered. A gene or spot whose metric is undefined (fewer than two entries, a
        constant side) does not enter; a value to which nothing entered is NaN.

    Raises:
        InputError: When shapes differ or a scored value is not finite.
        ConfigurationError: For an unknown metric.
    """
    target, predicted, entries, labels = _checked(truth, prediction, measured, slide)
    _refuse_unknown(metrics, METRICS)
    rows: list[tuple[str, str, float, int]] = []
    for metric in metrics:
        parts: list[tuple[str, float, int]] = []
        for label, of_slide in _slides(labels):
            values = _lines(metric, target[of_slide], predicted[of_slide], entries[of_slide])
            parts.append((label, *_mean(values)))
        rows += [(label, metric, value, count) for label, value, count in parts]
        rows.append((POOLED, metric, *_pooled(metric, parts)))
    return pd.DataFrame(rows, columns=["slide", "metric", "value", "n"])


def gene_scores(
    truth: ArrayLike,
    prediction: ArrayLike,
    measured: ArrayLike,
    slide: ArrayLike,
    genes: Sequence[str],
    metrics: Sequence[str] = GENE_METRICS,
) -> pd.DataFrame:
    """Score every gene, per slide and pooled.

    Args:
        truth: Values ``(n_spots, n_genes)``.
        prediction: Values of the same shape and unit.
        measured: The entries that count ``(n_spots, n_genes)``, boolean.
        slide: Label of each spot's slide ``(n_spots,)``.
        genes: Names ``(n_genes,)``.
        metrics: Which of `GENE_METRICS`.

    Returns:
        Columns ``slide`` (empty for pooled), ``gene``, ``metric``, ``value``, ``n``. ``n`` is the
        number of entries; pooled errors weigh slides by it, pooled correlations and R² are means
        over the slides where they are defined.

    Raises:
        InputError: When shapes differ or a scored value is not finite.
        ConfigurationError: For an unknown metric.
    """
    target, predicted, entries, labels = _checked(truth, prediction, measured, slide)
    _refuse_unknown(metrics, GENE_METRICS)
    if len(genes) != target.shape[1]:
        msg = f"gene_scores: {len(genes)} gene names for {target.shape[1]} genes"
        raise InputError(msg)
    frames: list[pd.DataFrame] = []
    for metric in metrics:
        by_slide: list[_Values] = []
        counts: list[NDArray[np.int64]] = []
        for label, of_slide in _slides(labels):
            inside = entries[of_slide]
            by_slide.append(_per_gene(metric, target[of_slide], predicted[of_slide], inside))
            counts.append(inside.sum(axis=0))
            frames.append(_gene_frame(label, genes, metric, by_slide[-1], counts[-1]))
        weights = np.stack(counts) if metric in _OVER_ENTRIES else np.ones((len(counts), 1))
        pooled = _weighted_mean(np.stack(by_slide), weights)
        frames.append(_gene_frame(POOLED, genes, metric, pooled, np.sum(counts, axis=0)))
    return pd.concat(frames, ignore_index=True)


def _lines(metric: str, truth: _Values, prediction: _Values, entries: _Entries) -> _Values:
    """Return what is averaged: one number per entry, gene or spot."""
    if metric in _OVER_ENTRIES:
        return _ERRORS[metric]((truth - prediction)[entries])
    axis = 0 if metric.endswith("gene") else 1
    if metric.startswith("pcc"):
        return correlation(truth, prediction, entries, axis)
    return _r2(truth, prediction, entries, axis)


def _per_gene(metric: str, truth: _Values, prediction: _Values, entries: _Entries) -> _Values:
    if metric not in _OVER_ENTRIES:
        return _lines(metric, truth, prediction, entries)
    errors = _ERRORS[metric](np.where(entries, truth - prediction, 0.0)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean: _Values = errors / entries.sum(axis=0)
    return mean


def _r2(truth: _Values, prediction: _Values, entries: _Entries, axis: int) -> _Values:
    deviation, constant = centred(truth, entries, axis)
    residual = np.where(entries, truth - prediction, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = 1 - (residual**2).sum(axis) / (deviation**2).sum(axis)
    return np.where(constant | (entries.sum(axis) < 2), np.nan, value)


_ERRORS: dict[str, Callable[[_Values], _Values]] = {"mse": np.square, "mae": np.abs}


def _mean(values: _Values) -> tuple[float, int]:
    defined = values[~np.isnan(values)]
    return (float(defined.mean()) if defined.size else float("nan")), int(defined.size)


def _pooled(metric: str, parts: Sequence[tuple[str, float, int]]) -> tuple[float, int]:
    values = np.array([value for _, value, _ in parts], dtype=np.float64)
    counts = np.array([count for _, _, count in parts], dtype=np.int64)
    weights = counts if metric in _OVER_ENTRIES else np.ones(len(parts))
    return float(_weighted_mean(values[:, None], weights[:, None])[0]), int(counts.sum())


def _weighted_mean(values: _Values, weights: NDArray[np.number]) -> _Values:
    effective = np.where(np.isnan(values), 0.0, weights)
    total = effective.sum(axis=0)
    summed = (np.nan_to_num(values) * effective).sum(axis=0)
    return np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan)


def _gene_frame(
    label: str, genes: Sequence[str], metric: str, values: _Values, counts: NDArray[np.int64]
) -> pd.DataFrame:
    content = {"slide": label, "gene": list(genes), "metric": metric, "value": values, "n": counts}
    return pd.DataFrame(content)


def _slides(labels: NDArray[np.str_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for label in dict.fromkeys(labels.tolist()):
        yield label, labels == label


def _checked(
    truth: ArrayLike, prediction: ArrayLike, measured: ArrayLike, slide: ArrayLike
) -> tuple[_Values, _Values, _Entries, NDArray[np.str_]]:
    target = np.asarray(truth, dtype=np.float64)
    predicted = np.asarray(prediction, dtype=np.float64)
    entries = np.asarray(measured, dtype=bool)
    labels = np.asarray(slide).astype(str)
    shapes = {"truth": target.shape, "prediction": predicted.shape, "measured": entries.shape}
    if len(set(shapes.values())) > 1 or target.ndim != 2 or labels.shape != target.shape[:1]:
        msg = (
            f"scores need truth, prediction and measured of one shape (n_spots, n_genes) and a "
            f"slide per spot; found {shapes} and slide {labels.shape}"
        )
        raise InputError(msg)
    for name, values in (("truth", target), ("prediction", predicted)):
        wrong = int((~np.isfinite(values[entries])).sum())
        if wrong:
            msg = (
                f"{name}: {wrong} of {int(entries.sum())} scored entries are not finite; "
                "every scored entry needs a number"
            )
            raise InputError(msg)
    return target, predicted, entries, labels


def _refuse_unknown(metrics: Sequence[str], known: Sequence[str]) -> None:
    for metric in metrics:
        if metric not in known:
            msg = f"unknown metric {metric!r}{nearest(metric, known)}; allowed: {', '.join(known)}"
            raise ConfigurationError(msg)
