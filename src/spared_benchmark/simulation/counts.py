"""From tissue to molecules: true expression of every spot, and the counts that are seen of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.simulation.genes import Genes

_LIBRARY_SPREAD = 0.3  # standard deviation of the natural logarithm of a spot's total
_GAMMA_SHAPE = 20.0  # variance = mean + mean² / shape
_ENTRIES_AT_ONCE = 4_000_000


def shares(
    genes: Genes,
    regions: NDArray[np.float64],
    programmes: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return each gene's share of a spot's molecules, ``(n_spots, n_genes)``, rows summing to 1.

    Args:
        genes: Effects of regions and programmes.
        regions: Region shares, ``(n_spots, n_regions)``.
        programmes: ``(n_spots, n_programmes)``.
        offset: Of this subject and slide, log2 units, ``(n_genes,)``.
    """
    level = genes.abundance + offset + regions @ genes.region_effect
    level += programmes @ genes.programme_effect
    rate = np.exp2(level - level.max(axis=1, keepdims=True))
    share: NDArray[np.float32] = (rate / rate.sum(axis=1, keepdims=True)).astype(np.float32)
    return share


def log_tpm(share: NDArray[np.float32], length: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return log2(TPM + 1) of the noise-free shares, over all genes, ``(n_spots, n_genes)``."""
    per_base = share / length.astype(np.float32)
    per_base *= np.float32(1e6) / per_base.sum(axis=1, keepdims=True)
    return np.log2(per_base + 1, dtype=np.float32)


def draw_counts(
    share: NDArray[np.float32], median_counts: float, generator: np.random.Generator
) -> sparse.csr_matrix:
    """Draw molecules: a Poisson around a gamma-distributed rate, as CSR int32.

    A gene that is little captured is often missed: that is all there is of dropout.
    """
    n_spots, n_genes = share.shape
    library = median_counts * np.exp(_LIBRARY_SPREAD * generator.normal(size=(n_spots, 1)))
    rows = max(1, _ENTRIES_AT_ONCE // n_genes)
    blocks = []
    for start in range(0, n_spots, rows):
        mean = share[start : start + rows] * library[start : start + rows]
        drawn = generator.negative_binomial(_GAMMA_SHAPE, _GAMMA_SHAPE / (_GAMMA_SHAPE + mean))
        blocks.append(sparse.csr_matrix(drawn.astype(np.int32)))
    return sparse.csr_matrix(sparse.vstack(blocks, format="csr"))
