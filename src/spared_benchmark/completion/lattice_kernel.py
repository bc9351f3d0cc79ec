"""Gaussian sums over a slide's lattice.

In array coordinates a Gaussian of the distance is a product of one factor along rows and one
along columns, so its sums over all pairs of spots are two small matrix products: exact, without a
cut-off and without a table of pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.visible import Visible
from spared_benchmark.study import Lattice

_Floats = NDArray[np.float64]

# Length of one array row and one array column, in pitches.
UNITS: dict[Lattice, tuple[float, float]] = {
    "hexagonal": (3**0.5 / 2, 0.5),
    "square": (1.0, 1.0),
    "diamond": (0.5**0.5, 0.5**0.5),
}


class LatticeGrid:
    """The lattice sites of one slide as a dense grid of rows and columns.

    Args:
        slide: One slide, of one spot at least.

    Attributes:
        unit: Length of a row and of a column, in pitches.
        places: Of the spots, in pitches ``(n_spots, 2)``.
        shape: Rows and columns that the slide spans.
    """

    def __init__(self, slide: Visible) -> None:
        self.unit = UNITS[slide.lattice]
        self._row = slide.array_row.astype(np.int64) - int(slide.array_row.min())
        self._col = slide.array_col.astype(np.int64) - int(slide.array_col.min())
        self.places = np.stack([self._row, self._col], axis=1) * np.array(self.unit)
        self.shape = (int(self._row.max()) + 1, int(self._col.max()) + 1)

    def placed(self, values: _Floats) -> _Floats:
        """Return values on the grid, 0 where no spot is ``(n_rows, n_cols, n_genes)``."""
        grid = np.zeros((*self.shape, values.shape[1]), dtype=values.dtype)
        grid[self._row, self._col] = values
        return grid

    def taken(self, grid: _Floats) -> _Floats:
        """Return the spots' values of a grid ``(n_spots, n_genes)``."""
        taken: _Floats = grid[self._row, self._col]
        return taken

    def gaussian_sums(self, values: _Floats, width: float) -> _Floats:
        """Return Σ exp(−d² / 2 width²) values over all other spots ``(n_spots, n_genes)``.

        Args:
            values: ``(n_spots, n_genes)``.
            width: Standard deviation, in pitches.
        """
        along_rows, along_cols = (
            _gaussian(size, unit / width) for size, unit in zip(self.shape, self.unit, strict=True)
        )
        grid = np.tensordot(along_rows, self.placed(values), axes=1)
        sums: _Floats = self.taken(np.matmul(along_cols, grid)) - values
        return sums


def _gaussian(size: int, step: float) -> _Floats:
    place = np.arange(size) * step
    weights: _Floats = np.exp(-0.5 * np.square(place[:, None] - place[None, :]))
    return weights
