"""What every metric is made of: sums over the scored entries of each gene and of each spot.

One pass over a slide gives all of them. Values are taken less one number near their middle, so
that Σ (x − mean)² = Σ x² − (Σ x)² / n keeps its digits; where it would not (lines that hardly
vary beside their distance from that number) a line is summed again about its own mean.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.evaluation.correlation import centred, pearson

_Values = NDArray[np.floating]
_Floats = NDArray[np.float64]
_Entries = NDArray[np.bool_]
_Rows = NDArray[np.intp]

# Entries that a thread sums in one task, and those it holds at a time: few enough for the cache,
# and many enough that threads seldom wait for one another.
_TASK, _BLOCK = 1 << 18, 1 << 16
# A line is summed again where its squares about the mean are less than this share of those about
# the common number: there, three of sixteen digits would be lost.
_IN_DOUBT = 1e-3
_COUNT, _TRUTH, _PREDICTION, _TRUTH_2, _PREDICTION_2, _PRODUCT, _ABSOLUTE, _SQUARED = range(8)


@dataclass(frozen=True)
class LineSums:
    """Sums over the scored entries of each line, all ``(n_lines,)``: a slide's genes, or spots.

    Attributes:
        count: Scored entries.
        absolute: Σ |truth − prediction|.
        squared: Σ (truth − prediction)².
        truth: Σ (truth − mean)².
        prediction: Σ (prediction − mean)².
        product: Σ (truth − mean) (prediction − mean).
        constant_truth: Where the truth does not vary.
        constant: Where the truth or the prediction does not vary.
    """

    count: NDArray[np.int64]
    absolute: _Floats
    squared: _Floats
    truth: _Floats
    prediction: _Floats
    product: _Floats
    constant_truth: NDArray[np.bool_]
    constant: NDArray[np.bool_]

    def pcc(self) -> _Floats:
        """Return Pearson's correlation, NaN where fewer than two entries or a side is constant."""
        undefined = self.constant | (self.count < 2)
        return pearson(self.product, self.truth * self.prediction, undefined)

    def r2(self) -> _Floats:
        """Return 1 − Σ error² / Σ (truth − mean)², NaN for a constant truth or a single entry."""
        with np.errstate(invalid="ignore", divide="ignore"):
            value = 1 - self.squared / self.truth
        return np.where(self.constant_truth | (self.count < 2), np.nan, value)


def line_sums(
    truth: _Values, prediction: _Values, entries: _Entries, slides: Sequence[_Rows]
) -> list[tuple[LineSums, LineSums]]:
    """Sum up every slide, by gene and by spot.

    Args:
        truth: Values ``(n_spots, n_genes)``.
        prediction: Values of the same shape.
        entries: The entries that count ``(n_spots, n_genes)``; the others weigh nothing, but
            one that is not finite makes its gene's and its spot's sums NaN.
        slides: Rows of each slide, ascending.

    Returns:
        For each slide the sums of its genes and those of its spots. They do not depend on the
        number of threads (``OMP_NUM_THREADS``, else the machine's cores).
    """
    step = max(_TASK // max(truth.shape[1], 1), 1)
    centres = [_centre(truth, entries, rows) for rows in slides]
    tasks = [
        (rows[start : start + step], centre)
        for rows, centre in zip(slides, centres, strict=True)
        for start in range(0, rows.size, step)
    ]
    with ThreadPoolExecutor(_threads()) as pool:
        summed = pool.map(lambda task: _sum(truth, prediction, entries, *task), tasks)
        result = []
        for rows in slides:
            parts = [next(summed) for _ in range(0, rows.size, step)]
            values = truth, prediction, entries, rows
            by_gene = np.sum([genes for genes, _ in parts], axis=0)
            by_spot = np.concatenate([spots for _, spots in parts], axis=1)
            result.append((_lines(by_gene, *values, axis=0), _lines(by_spot, *values, axis=1)))
    return result


def _threads() -> int:
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(int(limit), 1) if limit.isdigit() else (os.cpu_count() or 1)


def _centre(truth: _Values, entries: _Entries, rows: _Rows) -> float:
    """Return a number near the middle of a slide's scored values; every number would do."""
    some = rows[:: max(rows.size // 64, 1)]
    scored = truth[some][entries[some]]
    centre = np.float32(scored.mean()) if scored.size else np.float32(0)
    return float(centre) if np.isfinite(centre) else 0.0


def _sum(
    truth: _Values, prediction: _Values, entries: _Entries, rows: _Rows, centre: float
) -> tuple[_Floats, _Floats]:
    """Return the eight sums of some spots, by gene ``(8, n_genes)`` and spot ``(8, n_spots)``."""
    genes = truth.shape[1]
    step = min(max(_BLOCK // max(genes, 1), 1), rows.size)
    held = np.empty((8, step, genes))
    by_gene, by_spot = np.zeros((8, genes)), np.empty((8, rows.size))
    over_spots, over_genes = np.ones(step), np.ones(genes)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, rows.size, step):
            part = rows[start : start + step]
            block = held[:, : part.size]
            _terms(block, truth, prediction, entries, _contiguous(part), centre)
            by_gene += over_spots[: part.size] @ block
            by_spot[:, start : start + step] = block @ over_genes
    return by_gene, by_spot


def _contiguous(rows: _Rows) -> _Rows | slice:
    """Return the slice that ascending rows are, if they are one: taking it copies nothing."""
    ends = slice(int(rows[0]), int(rows[-1]) + 1)
    return ends if ends.stop - ends.start == rows.size else rows


def _terms(
    block: _Floats,
    truth: _Values,
    prediction: _Values,
    entries: _Entries,
    rows: _Rows | slice,
    centre: float,
) -> None:
    """Write what is summed into ``block (8, n_spots, n_genes)``; 0 outside the entries."""
    block[_COUNT] = entries[rows]
    for values, place in ((truth, _TRUTH), (prediction, _PREDICTION)):
        np.subtract(values[rows], centre, out=block[place], dtype=np.float64)
        block[place] *= block[_COUNT]
    first, second, error = block[_TRUTH], block[_PREDICTION], block[_ABSOLUTE]
    np.multiply(first, first, out=block[_TRUTH_2])
    np.multiply(second, second, out=block[_PREDICTION_2])
    np.multiply(first, second, out=block[_PRODUCT])
    np.subtract(first, second, out=error)
    np.multiply(error, error, out=block[_SQUARED])
    np.abs(error, out=error)


def _lines(
    sums: _Floats,
    truth: _Values,
    prediction: _Values,
    entries: _Entries,
    rows: _Rows,
    axis: int,
) -> LineSums:
    count = np.maximum(sums[_COUNT], 1)
    first, second = sums[_TRUTH], sums[_PREDICTION]
    # Rows: Σ (truth − mean)², Σ (prediction − mean)², Σ (truth − mean) (prediction − mean).
    about = np.stack([first**2, second**2, first * second]) / count
    moments = sums[[_TRUTH_2, _PREDICTION_2, _PRODUCT]] - about
    in_doubt = moments[:2] <= _IN_DOUBT * sums[[_TRUTH_2, _PREDICTION_2]]
    doubtful = np.flatnonzero(in_doubt.any(axis=0))
    constant = np.zeros((2, count.size), dtype=bool)
    if doubtful.size:
        place = (rows[:, None], doubtful) if axis == 0 else rows[doubtful]
        shown = entries[place]
        deviation, constant[0, doubtful] = centred(truth[place], shown, axis)
        beside, constant[1, doubtful] = centred(prediction[place], shown, axis)
        pairs = ((deviation, deviation), (beside, beside), (deviation, beside))
        moments[:, doubtful] = [(one * other).sum(axis) for one, other in pairs]
    return LineSums(
        count=sums[_COUNT].astype(np.int64),
        absolute=sums[_ABSOLUTE],
        squared=sums[_SQUARED],
        truth=moments[0],
        prediction=moments[1],
        product=moments[2],
        constant_truth=constant[0],
        constant=constant[0] | constant[1],
    )
