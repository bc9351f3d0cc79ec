"""What a predictor that was fitted to exchanged labels correlates with, by bootstrap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.evaluation.bootstrap import Part, Units, half_width, interval
from spared_benchmark.evaluation.correlation import correlation, pearson

BLOCKS, BLOCKS_AND_EXCHANGES = "blocks", "blocks and exchanges"

_Floats = NDArray[np.float64]
# A variance below this share of the whole slide's is that of a draw with hardly any entry.
_LEAST_VARIANCE = 1e-9


@dataclass(frozen=True)
class Chance:
    """A correlation with its interval.

    Attributes:
        value: Pearson's correlation per gene within slide, averaged over genes, slides and seeds;
            NaN when it is undefined for every gene.
        low: Lower end of the interval.
        high: Upper end of the interval.
        over: What the interval is over: ``blocks``, or ``blocks and exchanges``.
        n: Genes that entered, summed over slides.
    """

    value: float
    low: float
    high: float
    over: str
    n: int


def chance_correlation(
    truth: NDArray[np.floating],
    predicted: Sequence[NDArray[np.floating]],
    measured: NDArray[np.bool_],
    blocks: Units,
    times: _Floats,
) -> Chance:
    """Return the correlation of predictions with truth, with an interval.

    Every seed exchanges other labels, and what is learnt from one exchange is a function of the
    image that resembles the tissue or its opposite by luck. No drawing of blocks tells of that
    luck, so an interval over blocks alone excludes 0 far too often. Where there are several seeds
    the interval is Student's, with the variance of their mean added to that from blocks; see
    `evaluation.bootstrap.half_width`.

    Args:
        truth: Values ``(n_spots, n_genes)``.
        predicted: One prediction for each seed, of the same shape.
        measured: The entries that count ``(n_spots, n_genes)``.
        blocks: Of the spots, their stratum the slide.
        times: How often each block is drawn ``(draws, n_blocks)``.
    """
    found, samples, counts = [], [], []
    for one in predicted:
        slides = list(_slides(truth, one, measured, blocks, times))
        found.append(float(_mean(np.array([point for point, _, _ in slides]))))
        samples.append(_mean(np.stack([sample for _, sample, _ in slides])))
        counts.append(sum(count for _, _, count in slides))
    defined = np.isfinite(found)
    points, drawn = np.array(found)[defined], np.array(samples)[defined]
    seeds, n = len(points), round(sum(counts) / len(counts))
    over = BLOCKS if seeds < 2 else BLOCKS_AND_EXCHANGES
    value = float(points.mean()) if seeds else float("nan")
    if not seeds or not blocks.varied:
        return Chance(value, float("nan"), float("nan"), over, n)
    mean = _mean(drawn)
    mean = mean[np.isfinite(mean)]
    if seeds < 2:
        low, high = interval(mean)
        return Chance(value, float(low), float(high), over, n)
    exchanges = Part(float(points.var(ddof=1)) / seeds, seeds - 1)
    half = half_width([exchanges, Part(float(mean.var()), blocks.freedom)])
    return Chance(value, value - half, value + half, over, n)


def _slides(
    truth: NDArray[np.floating],
    predicted: NDArray[np.floating],
    measured: NDArray[np.bool_],
    blocks: Units,
    times: _Floats,
) -> Iterator[tuple[float, _Floats, int]]:
    """Yield each slide's mean correlation, that of every draw ``(draws,)``, and its genes."""
    of_spot = blocks.stratum[blocks.of_spot]
    for slide in np.unique(of_spot):
        rows = of_spot == slide
        entries = measured[rows]
        first, second = _centred(truth[rows], entries), _centred(predicted[rows], entries)
        point = correlation(first, second, entries, axis=0)
        known = np.isfinite(point)
        own = Units.of(blocks.of_spot[rows], np.zeros(int(rows.sum())))
        drawn = times[:, np.unique(blocks.of_spot[rows])]
        sample = _drawn(first[:, known], second[:, known], entries[:, known], own, drawn)
        yield float(_mean(point)), _mean(sample.T), int(known.sum())


def _drawn(
    first: _Floats, second: _Floats, entries: NDArray[np.bool_], units: Units, times: _Floats
) -> _Floats:
    """Return every gene's correlation in every draw ``(draws, n_genes)`` from sums of blocks."""
    parts = (entries, first, second, first**2, second**2, first * second)
    n, a, b, aa, bb, ab = (times @ units.sums(part) for part in parts)
    n = np.maximum(n, 1)
    variances = np.maximum(aa - a * a / n, 0), np.maximum(bb - b * b / n, 0)
    whole = (first**2).sum(axis=0), (second**2).sum(axis=0)
    undefined = (variances[0] <= _LEAST_VARIANCE * whole[0]) | (
        variances[1] <= _LEAST_VARIANCE * whole[1]
    )
    drawn: _Floats = pearson(ab - a * b / n, variances[0] * variances[1], undefined)
    return drawn


def _centred(values: NDArray[np.floating], entries: NDArray[np.bool_]) -> _Floats:
    """Return deviations from each gene's mean over its entries, 0 elsewhere."""
    kept = np.where(entries, values.astype(np.float64), 0.0)
    mean = kept.sum(axis=0) / np.maximum(entries.sum(axis=0), 1)
    return np.where(entries, kept - mean, 0.0)


def _mean(values: _Floats) -> _Floats:
    """Return the mean over the first axis of what is defined; NaN where nothing is."""
    known = np.isfinite(values)
    total, count = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    mean: _Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
