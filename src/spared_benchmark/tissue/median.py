"""The adaptive median filter: the published library's first completion of missing entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_GENES_AT_ONCE = 256
_WINDOWS_AT_ONCE = 1 << 18


def adaptive_median(
    values: NDArray[np.float32],
    absent: NDArray[np.bool_],
    tables: Sequence[NDArray[np.int32]],
    slide: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Fill absent entries with the first median that is not zero in windows that grow.

    For each absent entry and each table in turn: the median of the gene over the spot itself and
    its neighbours, **zeros included** (so a window needs a majority of other values, and a window
    of even size may give half of one). The first that is not zero is taken; else the median of
    the gene's non-zero values on the slide; else 0. Only ``values`` are read, never filled ones.

    Args:
        values: Expression ``(n_spots, n_genes)``, 0 where absent.
        absent: Entries to fill ``(n_spots, n_genes)``.
        tables: Neighbour tables ``(n_spots, k)`` of 1, 2, … hops, −1 padded, each holding the
            neighbours of the one before.
        slide: Integer code of each spot's slide ``(n_spots,)``.

    Returns:
        The completed values, float32 ``(n_spots, n_genes)``; other entries are unchanged.
    """
    filled = np.array(values, dtype=np.float32)
    windows = [_Window(table) for table in tables]
    codes = np.unique(slide)
    for start in range(0, values.shape[1], _GENES_AT_ONCE):
        block = slice(start, start + _GENES_AT_ONCE)
        known = np.ascontiguousarray(values[:, block], dtype=np.float32)
        open_ = absent[:, block].copy()
        result = filled[:, block]
        for window in windows:
            window.fill(known, open_, result)
        for code in codes:
            rows = np.flatnonzero(slide == code)
            medians = nonzero_medians(known[rows])
            result[rows] = np.where(open_[rows], medians, result[rows])
    return filled


def nonzero_medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of each column's non-zero values, 0 for a column without any.

    Args:
        values: ``(n_spots, n_genes)``.
    """
    ordered = np.where(values == 0, np.inf, values)
    ordered.sort(axis=0)
    size = np.count_nonzero(values, axis=0)
    column = np.arange(values.shape[1])
    low, high = np.maximum(size - 1, 0) // 2, size // 2
    middle = (ordered[low, column] + ordered[high, column]) / 2
    return np.where(size > 0, middle, 0).astype(np.float32)


class _Window:
    """The spots over which one hop's medians are taken: each spot and its neighbours."""

    def __init__(self, table: NDArray[np.int32]) -> None:
        spots = table.shape[0]
        itself = np.arange(spots, dtype=np.int32)[:, None]
        self.members = np.concatenate([itself, table], axis=1)
        present = self.members >= 0
        self.size = present.sum(axis=1)
        pointers = np.concatenate([[0], np.cumsum(self.size)])
        ones = np.ones(pointers[-1], dtype=np.float32)
        self.sums = sparse.csr_matrix((ones, self.members[present], pointers), shape=(spots, spots))

    def fill(
        self, values: NDArray[np.float32], open_: NDArray[np.bool_], result: NDArray[np.float32]
    ) -> None:
        """Put the medians that are not zero into ``result`` and close their entries."""
        row, column = np.nonzero(open_ & self._can_be_nonzero(values))
        padded = np.concatenate([values, np.full((1, values.shape[1]), np.inf, np.float32)])
        for start in range(0, row.size, _WINDOWS_AT_ONCE):
            part = slice(start, start + _WINDOWS_AT_ONCE)
            rows, columns = row[part], column[part]
            window = padded[self.members[rows], columns[:, None]]
            window.sort(axis=1)
            entry = np.arange(rows.size)
            low, high = (self.size[rows] - 1) // 2, self.size[rows] // 2
            median = (window[entry, low] + window[entry, high]) / 2
            found = median != 0
            result[rows[found], columns[found]] = median[found]
            open_[rows[found], columns[found]] = False

    def _can_be_nonzero(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        # Counting signs by two sparse products is far cheaper than sorting every window: in a
        # sorted window zeros stand between negatives and positives, and the median is zero when
        # both middle places fall among them.
        positive = self.sums @ (values > 0).astype(np.float32)
        low, high = (self.size - 1) // 2, self.size // 2
        sign: NDArray[np.bool_] = high[:, None] >= self.size[:, None] - positive
        if (values < 0).any():
            sign |= low[:, None] < self.sums @ (values < 0).astype(np.float32)
        return sign
