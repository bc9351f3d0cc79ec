"""What a way of hiding draws from: a cohort's measured entries and where its spots lie."""

from __future__ import annotations

from dataclasses import dataclass

import anndata
import numpy as np
from numpy.typing import NDArray

from spared_benchmark.study import Lattice

# x per array column and y per array row on which neighbours lie equally far apart.
_PLANE: dict[str, tuple[float, float]] = {
    "hexagonal": (0.5, np.sqrt(3) / 2),
    "square": (1.0, 1.0),
    "diamond": (1.0, 1.0),
}


@dataclass(frozen=True, eq=False)
class Ground:
    """Entries of val and test slides, which may be hidden, and of train slides, which may not.

    Attributes:
        measured: Measured entries ``(n_spots, n_genes)``.
        values: log2(TPM+1), float32 ``(n_spots, n_genes)``.
        split: ``train``, ``val`` or ``test`` ``(n_spots,)``.
        slide: Name of each spot's slide ``(n_spots,)``.
        array_row: Lattice row ``(n_spots,)``.
        array_col: Lattice column ``(n_spots,)``.
        lattice: How the spots lie.
    """

    measured: NDArray[np.bool_]
    values: NDArray[np.float32]
    split: NDArray[np.str_]
    slide: NDArray[np.str_]
    array_row: NDArray[np.int32]
    array_col: NDArray[np.int32]
    lattice: Lattice

    @classmethod
    def of(cls, expression: anndata.AnnData) -> Ground:
        """Take the ground of a cohort's expression."""
        obs = expression.obs
        return cls(
            measured=np.asarray(expression.layers["measured"], dtype=bool),
            values=np.asarray(expression.layers["log_tpm"], dtype=np.float32),
            split=np.asarray(obs["split"], dtype=np.str_),
            slide=np.asarray(obs["slide"], dtype=np.str_),
            array_row=obs["array_row"].to_numpy(dtype=np.int32),
            array_col=obs["array_col"].to_numpy(dtype=np.int32),
            lattice=expression.uns["lattice"],
        )

    @property
    def eligible(self) -> NDArray[np.bool_]:
        """Measured entries of val and test slides ``(n_spots, n_genes)``."""
        return self.measured & np.isin(self.split, ("val", "test"))[:, None]

    def slides(self, *splits: str) -> list[NDArray[np.intp]]:
        """Return the rows of each slide of these splits, slides in order of appearance."""
        inside = np.isin(self.split, splits)
        names = dict.fromkeys(self.slide[inside].tolist())
        return [np.flatnonzero(self.slide == name) for name in names]

    def plane(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return where spots lie, in units of their pitch up to a factor ``(n_rows, 2)``."""
        x, y = _PLANE[self.lattice]
        return np.column_stack([self.array_col[rows] * x, self.array_row[rows] * y])
