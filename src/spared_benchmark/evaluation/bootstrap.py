"""Is one method better than another? Paired bootstrap over spatial blocks within slides.

Neighbouring spots share tissue, so resampling single spots would make intervals too narrow; whole
blocks are drawn with replacement instead, within each slide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats

from spared_benchmark.errors import InputError
from spared_benchmark.study import Lattice

LEVEL = 0.95

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


@dataclass(frozen=True)
class Units:
    """What a bootstrap draws with replacement: blocks within their slide, or subjects.

    Attributes:
        of_spot: Unit of each spot, numbered from 0 without gaps ``(n_spots,)``.
        stratum: Stratum of each unit, the slide of a block; each is drawn as often as it has units
            ``(n_units,)``.
    """

    of_spot: NDArray[np.int64]
    stratum: NDArray[np.int64]

    @classmethod
    def of(cls, units: ArrayLike, strata: ArrayLike) -> Units:
        """Return the units of spots whose unit and stratum are labelled, each ``(n_spots,)``."""
        _, first, of_spot = np.unique(np.asarray(units), return_index=True, return_inverse=True)
        codes = np.unique(np.asarray(strata), return_inverse=True)[1].reshape(-1)
        return cls(of_spot.reshape(-1).astype(np.int64), codes[first].astype(np.int64))

    @property
    def count(self) -> int:
        """Number of units."""
        return self.stratum.size

    @property
    def freedom(self) -> int:
        """Degrees of freedom of what draws tell: units beyond the first of their stratum."""
        return self.count - np.unique(self.stratum).size

    @property
    def varied(self) -> bool:
        """Whether draws can differ: some stratum has two units or more."""
        return self.freedom > 0

    def sums(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the sum of each unit's rows ``(n_units, n)`` of ``values`` ``(n_spots, n)``."""
        ones = np.ones(self.of_spot.size)
        places = (self.of_spot, np.arange(self.of_spot.size))
        members = sparse.csr_matrix((ones, places), shape=(self.count, self.of_spot.size))
        summed: NDArray[np.float64] = members @ np.asarray(values, dtype=np.float64)
        return summed

    def drawn(self, draws: int, seed: int) -> NDArray[np.float64]:
        """Return how often each unit is drawn in each bootstrap sample ``(draws, n_units)``."""
        generator = np.random.default_rng(seed)
        times = np.zeros((draws, self.count))
        for code in np.unique(self.stratum):
            own = np.flatnonzero(self.stratum == code)
            times[:, own] = generator.multinomial(own.size, np.full(own.size, 1 / own.size), draws)
        return times


def interval(
    samples: NDArray[np.float64], level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the percentile interval of ``samples`` ``(draws, …)``, each ``(…)``."""
    tail = (1 - level) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    return low, high


class Part(NamedTuple):
    """A part of a mean's variance that is independent of the others.

    Attributes:
        variance: What it adds to the variance of the mean.
        freedom: Degrees of freedom of its estimate, 1 or more.
    """

    variance: float
    freedom: int


def half_width(parts: Sequence[Part], level: float = LEVEL) -> float:
    """Return half of Student's interval of a mean whose variance is the sum of ``parts``.

    The quantile is the mean of the parts' own, weighted with their variances (Cochran 1964,
    Biometrics 20:191). It covers the level or a little more whichever part is the largest;
    Satterthwaite's degrees of freedom cover too seldom where one part is of two or three seeds.
    """
    total = sum(part.variance for part in parts)
    if total <= 0:
        return 0.0
    weighted = sum(
        part.variance * float(stats.t.ppf((1 + level) / 2, part.freedom)) for part in parts
    )
    return weighted / total * math.sqrt(total)


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
    level: float = LEVEL,
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
    units = Units.of(blocks, slide)
    sums, counts = units.sums(np.stack([by_spot, entries.sum(axis=1)], axis=1)).T
    times = units.drawn(draws, seed)
    low, high = interval(times @ sums / np.maximum(times @ counts, 1.0), level)
    count = int(entries.sum())
    return Difference(float(sums.sum() / count), float(low), float(high), units.count, count)
