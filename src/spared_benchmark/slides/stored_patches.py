"""Patches that came with a slide, and arrays of which only some rows are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_BYTES_AT_ONCE = 64_000_000


@dataclass(frozen=True, eq=False)
class StoredPatches:
    """Where a slide's patches lie in an HDF5 file; they are large, so they are read when needed.

    Attributes:
        path: The file.
        key: The array in it, one flattened RGB uint8 patch a row ``(n, side * side * 3)``.
        rows: The slide's spots among its rows, ascending ``(n_spots,)``.
        side: Pixels along one side of a patch.
        window_px: Side of the tissue that a patch shows, full-resolution pixels.
    """

    path: Path
    key: str
    rows: NDArray[np.intp]
    side: int
    window_px: int

    def read(self) -> NDArray[np.uint8]:
        """Return the patches, RGB uint8 ``(n_spots, side, side, 3)``."""
        with h5py.File(self.path, "r") as file:
            flat = read_rows(file[self.key], self.rows)
        return flat.reshape(self.rows.size, self.side, self.side, 3)


def read_rows(element: h5py.Dataset | h5py.Group, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return some rows of a stored array, reading no more of the file than holds them.

    Args:
        element: A dense array, or a sparse matrix as AnnData stores it (that one is read whole).
        rows: Ascending ``(n_rows,)``.
    """
    if isinstance(element, h5py.Group):
        matrix: Any = anndata.io.read_elem(element)
        return np.asarray(sparse.csr_matrix(matrix)[rows].toarray())
    found = np.empty((rows.size, *element.shape[1:]), dtype=element.dtype)
    # Whole chunks, because a compressed chunk is unpacked anew for every read that touches it.
    chunk = element.chunks[0] if element.chunks else 1
    row_bytes = max(1, element.dtype.itemsize * int(np.prod(element.shape[1:])))
    step = chunk * max(1, _BYTES_AT_ONCE // (row_bytes * chunk))
    for start in range(0, element.shape[0], step):
        first, last = np.searchsorted(rows, (start, start + step))
        if first < last:
            low, high = int(rows[first]), int(rows[last - 1]) + 1
            found[first:last] = element[low:high][rows[first:last] - low]
    return found
