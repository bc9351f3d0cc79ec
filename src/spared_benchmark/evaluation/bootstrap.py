"""Is one method better than another? Paired bootstrap over spatial blocks within slides.

Neighbouring spots share tissue, so resampling single spots would make intervals too narrow; whole
blocks are drawn with replacement instead, within each slide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spared_benchmark.errors import InputError
from spared_benchmark.study import Lattice

# Array rows and columns that span one pitch, about: Space Ranger counts hexagonal columns twice,
# and a diamond's pitch is the diagonal of its grid.
_CELLS_PER_PITCH: dict[str, tuple[float, float]] = {
    "hexagonal": (1.0, 2.0),
    "square": (1.0, 1.0),
    "diamond": (math.sqrt(2), math.sqrt(2)),
}


@dataclass(frozen=True)
class Difference:
    """A mean difference of squared errors with its percentile interval.

    Attributes:
        mean: Error of the first minus error of the second; negative when the first is better.
        low: Lower end of the interval.
        high: Upper end of the interval.
        blocks: Spatial blocks that were drawn from.
        n: Scored entries.
    """

    mean: float
    low: float
    high: float
    blocks: int
    n: int


def spatial_blocks(
    array_row: ArrayLike, array_col: ArrayLike, slide: ArrayLike, lattice: Lattice, side: int = 5
) -> NDArray[np.int64]:
    """Return a block number for every spot ``(n_spots,)``: squares of ``side`` pitches.

    Blocks never cross slides and are numbered from 0 without gaps.
    """
    per_row, per_col = _CELLS_PER_PITCH[lattice]
    rows = np.floor_divide(np.asarray(array_row), max(round(side * per_row), 1))
    cols = np.floor_divide(np.asarray(array_col), max(round(side * per_col), 1))
    codes = np.unique(np.asarray(slide), return_inverse=True)[1]
    places = np.stack([codes, rows, cols], axis=1)
    return np.unique(places, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def paired_difference(
    truth: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    measured: ArrayLike,
    slide: ArrayLike,
    blocks: ArrayLike,
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> Difference:
    """Return the difference of two methods' mean squared errors on the same entries.

    Args:
        truth: Values ``(n_spots, n_genes)``.
        first: Prediction of the first method, same shape.
        second: Prediction of the second method, same shape.
        measured: The entries that count ``(n_spots, n_genes)``, boolean.
        slide: Slide of each spot ``(n_spots,)``; blocks are drawn within it.
        blocks: Block of each spot ``(n_spots,)``, as from `spatial_blocks`.
        seed: Same seed, same interval.
        draws: Bootstrap samples.
        level: Of the percentile interval.

    Raises:
        InputError: When no entry counts.
    """
    entries = np.asarray(measured, dtype=bool)
    if not entries.any():
        msg = "paired_difference: no entry counts; give at least one measured entry"
        raise InputError(msg)
    target = np.asarray(truth, dtype=np.float64)
    errors = (target - np.asarray(first)) ** 2 - (target - np.asarray(second)) ** 2
    by_spot = np.where(entries, errors, 0.0).sum(axis=1)
    block_ids, block = np.unique(np.asarray(blocks), return_inverse=True)
    sums = np.bincount(block, weights=by_spot, minlength=block_ids.size)
    counts = np.bincount(block, weights=entries.sum(axis=1), minlength=block_ids.size)
    slide_of_block = np.zeros(block_ids.size, dtype=np.int64)
    slide_of_block[block] = np.unique(np.asarray(slide), return_inverse=True)[1]
    times = _drawn(slide_of_block, draws, np.random.default_rng(seed))
    totals = np.maximum(times @ counts, 1.0)
    tail = (1 - level) / 2
    low, high = np.quantile(times @ sums / totals, [tail, 1 - tail])
    count = int(counts.sum())
    return Difference(float(sums.sum() / count), float(low), float(high), block_ids.size, count)


def _drawn(
    slide_of_block: NDArray[np.int64], draws: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return how often each block is drawn in each bootstrap sample ``(draws, n_blocks)``."""
    times = np.zeros((draws, slide_of_block.size))
    for code in np.unique(slide_of_block):
        own = np.flatnonzero(slide_of_block == code)
        times[:, own] = generator.multinomial(own.size, np.full(own.size, 1 / own.size), draws)
    return times
