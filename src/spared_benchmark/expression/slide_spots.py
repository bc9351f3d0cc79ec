"""One slide restricted to what the filter left: the unit that processing reads again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.expression.genes import counts_of
from spared_benchmark.expression.normalisation import log_tpm, tpm_denominators
from spared_benchmark.study import Lattice
from spared_benchmark.tissue.lattice import neighbour_table, offsets
from spared_benchmark.tissue.median import adaptive_median


@dataclass(frozen=True)
class SlideSpots:
    """Counts of the filtered genes in the spots that are left.

    Attributes:
        counts: Sparse ``(n_spots, n_filtered)``.
        lengths: Of the filtered genes, base pairs ``(n_filtered,)``.
        spots: ``array_row``, ``array_col``, ``library_size`` (counts) and ``tpm_denominator``
            (counts per base), both over the filtered genes; index barcodes.
        spatial: Spot centres, full-resolution pixels ``(n_spots, 2)``.
        source_digest: Of the files that the slide was read from, "" when unknown.
    """

    counts: sparse.csr_matrix
    lengths: NDArray[np.float64]
    spots: pd.DataFrame
    spatial: NDArray[np.float64]
    source_digest: str

    @classmethod
    def of(
        cls,
        adata: AnnData,
        kept: NDArray[np.bool_],
        genes: NDArray[np.str_],
        lengths: NDArray[np.float64],
    ) -> SlideSpots:
        """Restrict a slide; spots in which none of the genes was counted are dropped.

        Args:
            adata: See the schema ``slide``.
            kept: Spots that the quality limits keep ``(n_spots,)``.
            genes: Names of the filtered genes ``(n_filtered,)``; one that it lacks counts zero.
            lengths: Their lengths, base pairs ``(n_filtered,)``.
        """
        counts = counts_of(adata, genes)[kept]
        library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        filled = library > 0
        rows = np.flatnonzero(kept)[filled]
        counts = counts[filled]
        spots = pd.DataFrame(
            {
                "array_row": adata.obs["array_row"].to_numpy(np.int32)[rows],
                "array_col": adata.obs["array_col"].to_numpy(np.int32)[rows],
                "library_size": library[filled],
                "tpm_denominator": tpm_denominators(counts, lengths),
            },
            index=adata.obs_names[rows],
        )
        spatial = np.asarray(adata.obsm["spatial"], dtype=np.float64)[rows]
        digest = str(adata.uns.get("slide", {}).get("source_digest", ""))
        return cls(counts, lengths, spots, spatial, digest)

    def dense_counts(self, genes: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the counts of some of the genes, float32 ``(n_spots, n_chosen)``."""
        return np.asarray(self.counts[:, genes].toarray(), dtype=np.float32)

    def log_tpm(self, genes: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return log2(TPM + 1) of some of the genes, float32 ``(n_spots, n_chosen)``."""
        denominators = self.spots["tpm_denominator"].to_numpy(np.float64)
        return log_tpm(self.counts[:, genes], self.lengths[genes], denominators)

    def neighbours(self, lattice: Lattice, hops: int) -> NDArray[np.int32]:
        """Return the rows of each spot's neighbours ``(n_spots, k)``, −1 padded."""
        rows, cols = self.spots["array_row"].to_numpy(), self.spots["array_col"].to_numpy()
        return neighbour_table(rows, cols, np.zeros(rows.size, np.int32), lattice, hops)

    def median_completed(
        self, values: NDArray[np.float32], lattice: Lattice, hops: int
    ) -> NDArray[np.float32]:
        """Return ``values`` with zeros filled by the adaptive median ``(n_spots, n_chosen)``."""
        widest = self.neighbours(lattice, hops)
        _, ring = offsets(lattice, hops)
        tables = [widest[:, ring <= hop] for hop in range(1, hops + 1)]
        return adaptive_median(values, values == 0, tables, np.zeros(len(values), np.int32))
