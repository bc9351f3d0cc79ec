"""Errors and correlations on measured entries, per slide and pooled.

Mean errors are taken over entries. Correlation and R² are taken per gene or per spot within a
slide, then averaged; the pooled value is the mean over slides. Pooling spots of several slides
before correlating would reward a method that only knows which slide a spot lies on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spared_benchmark.errors import ConfigurationError, InputError, nearest
from spared_benchmark.evaluation.line_sums import LineSums, line_sums

METRICS = ("mse", "mae", "pcc_gene", "pcc_spot", "r2_gene", "r2_spot")
GENE_METRICS = ("mse", "mae", "pcc_gene", "r2_gene")
_OVER_ENTRIES = ("mse", "mae")
POOLED = ""

_Values = NDArray[np.float64]


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
    _refuse_unknown(metrics, METRICS)
    names, sums = _summed(truth, prediction, measured, slide)
    rows: list[tuple[str, str, float, int]] = []
    for metric in metrics:
        parts = [_of_slide(metric, genes, spots) for genes, spots in sums]
        rows += [(name, metric, *part) for name, part in zip(names, parts, strict=True)]
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
    _refuse_unknown(metrics, GENE_METRICS)
    if len(genes) != np.shape(truth)[-1]:
        msg = f"gene_scores: {len(genes)} gene names for {np.shape(truth)[-1]} genes"
        raise InputError(msg)
    names, sums = _summed(truth, prediction, measured, slide)
    counts = [of_genes.count for of_genes, _ in sums]
    frames: list[pd.DataFrame] = []
    for metric in metrics:
        by_slide = [_per_gene(metric, of_genes) for of_genes, _ in sums]
        for name, values, count in zip(names, by_slide, counts, strict=True):
            frames.append(_gene_frame(name, genes, metric, values, count))
        weights = np.stack(counts) if metric in _OVER_ENTRIES else np.ones((len(counts), 1))
        pooled = _weighted_mean(np.stack(by_slide), weights)
        frames.append(_gene_frame(POOLED, genes, metric, pooled, np.sum(counts, axis=0)))
    return pd.concat(frames, ignore_index=True)


def _of_slide(metric: str, genes: LineSums, spots: LineSums) -> tuple[float, int]:
    """Return a slide's score and how many entries, genes or spots entered."""
    if metric in _OVER_ENTRIES:
        count = int(genes.count.sum())
        return (float(_errors(metric, genes).sum() / count) if count else float("nan")), count
    lines = genes if metric.endswith("gene") else spots
    values = lines.pcc() if metric.startswith("pcc") else lines.r2()
    defined = values[~np.isnan(values)]
    return (float(defined.mean()) if defined.size else float("nan")), int(defined.size)


def _per_gene(metric: str, genes: LineSums) -> _Values:
    if metric not in _OVER_ENTRIES:
        return genes.pcc() if metric.startswith("pcc") else genes.r2()
    with np.errstate(invalid="ignore"):
        mean: _Values = _errors(metric, genes) / genes.count
    return mean


def _errors(metric: str, lines: LineSums) -> _Values:
    return lines.squared if metric == "mse" else lines.absolute


def _pooled(metric: str, parts: Sequence[tuple[float, int]]) -> tuple[float, int]:
    values = np.array([value for value, _ in parts], dtype=np.float64)
    counts = np.array([count for _, count in parts], dtype=np.int64)
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


def _summed(
    truth: ArrayLike, prediction: ArrayLike, measured: ArrayLike, slide: ArrayLike
) -> tuple[list[str], list[tuple[LineSums, LineSums]]]:
    """Return the slides in order of appearance, and the sums of each one's genes and spots."""
    target, predicted = _floating(truth), _floating(prediction)
    entries = np.asarray(measured, dtype=bool)
    labels = np.asarray(slide)
    shapes = {"truth": target.shape, "prediction": predicted.shape, "measured": entries.shape}
    if len(set(shapes.values())) > 1 or target.ndim != 2 or labels.shape != target.shape[:1]:
        msg = (
            f"scores need truth, prediction and measured of one shape (n_spots, n_genes) and a "
            f"slide per spot; found {shapes} and slide {labels.shape}"
        )
        raise InputError(msg)
    codes, distinct = pd.factorize(labels, use_na_sentinel=False)
    # Labels that read alike are one slide, whatever their type.
    merged, names = pd.factorize(np.array([str(label) for label in distinct], dtype=object))
    rows = [np.flatnonzero(merged[codes] == code) for code in range(len(names))]
    sums = line_sums(target, predicted, entries, rows)
    # A value that is not finite shows in the errors; only then is it worth looking whether it
    # is scored.
    if not all(np.isfinite(genes.squared).all() for genes, _ in sums):
        _refuse_not_finite(target, predicted, entries)
        target, predicted = (np.where(entries, values, 0) for values in (target, predicted))
        sums = line_sums(target, predicted, entries, rows)
    return list(names), sums


def _floating(values: ArrayLike) -> NDArray[np.floating]:
    array = np.asarray(values)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _refuse_not_finite(
    truth: NDArray[np.floating], prediction: NDArray[np.floating], entries: NDArray[np.bool_]
) -> None:
    for name, values in (("truth", truth), ("prediction", prediction)):
        wrong = int((~np.isfinite(values[entries])).sum())
        if wrong:
            msg = (
                f"{name}: {wrong} of {int(entries.sum())} scored entries are not finite; "
                "every scored entry needs a number"
            )
            raise InputError(msg)


def _refuse_unknown(metrics: Sequence[str], known: Sequence[str]) -> None:
    for metric in metrics:
        if metric not in known:
            msg = f"unknown metric {metric!r}{nearest(metric, known)}; allowed: {', '.join(known)}"
            raise ConfigurationError(msg)
