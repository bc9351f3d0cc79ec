"""Counts of one slide in as few bytes as hold them, between reading it and choosing genes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class HeldCounts:
    """A sparse matrix of counts, each number in the smallest unsigned type.

    scipy keeps 8 bytes of each count; nearly all slides fit into 3 to 4. What is held of every
    slide at once is what bounds the memory of processing.

    Attributes:
        values: The counts, row after row ``(n_counted,)``.
        columns: The gene of each ``(n_counted,)``.
        pointers: Where each spot begins ``(n_spots + 1,)``.
        genes: How many there are.
    """

    values: NDArray[np.unsignedinteger]
    columns: NDArray[np.unsignedinteger]
    pointers: NDArray[np.int64]
    genes: int

    @classmethod
    def of(cls, counts: sparse.csr_matrix) -> HeldCounts:
        """Pack counts ``(n_spots, n_genes)``."""
        return cls(
            values=_packed(counts.data),
            columns=_packed(counts.indices),
            pointers=counts.indptr.astype(np.int64),
            genes=counts.shape[1],
        )

    def matrix(self) -> sparse.csr_matrix:
        """Return the counts, sparse ``(n_spots, n_genes)``."""
        parts = self.values.astype(np.int32), self.columns.astype(np.int32), self.pointers
        return sparse.csr_matrix(parts, shape=(self.pointers.size - 1, self.genes))


def _packed(numbers: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    largest = int(numbers.max(initial=0))
    return numbers.astype(np.min_scalar_type(largest))
