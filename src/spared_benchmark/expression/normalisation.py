"""Transcripts per million and their logarithm (Wagner, Kin & Lynch 2012, Theory Biosci.)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

PER_MILLION = 1e6


def tpm_denominators(
    counts: sparse.csr_matrix | NDArray[np.number], lengths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Σ count / length of each spot ``(n_spots,)``: its exposure, counts per base.

    Args:
        counts: Counts over all filtered genes ``(n_spots, n_genes)``.
        lengths: Merged exon length of each gene, base pairs ``(n_genes,)``.
    """
    return np.asarray(counts @ (1.0 / lengths), dtype=np.float64).ravel()


def log_tpm(
    counts: sparse.csr_matrix | NDArray[np.number],
    lengths: NDArray[np.float64],
    denominators: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return log2(TPM + 1), float32 ``(n_spots, n_genes)``; 0 where nothing was counted.

    The genes may be some of those over which the denominators were summed: a value does not
    depend on which other genes are asked for.

    Args:
        counts: Counts ``(n_spots, n_genes)``.
        lengths: Merged exon length of each gene, base pairs ``(n_genes,)``.
        denominators: See `tpm_denominators` ``(n_spots,)``; a spot with 0 gets zeros.
    """
    dense = counts.toarray() if sparse.issparse(counts) else np.asarray(counts)
    exposure = np.divide(
        PER_MILLION, denominators, out=np.zeros_like(denominators), where=denominators > 0
    )
    values = dense / lengths
    values *= exposure[:, None]
    np.log1p(values, out=values)
    values /= np.log(2.0)
    return values.astype(np.float32)
