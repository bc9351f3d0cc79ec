"""One slide restricted to what the filter left: the unit that processing works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.expression.filter import Tally
from spared_benchmark.expression.genes import FilteredGenes, counts_of
from spared_benchmark.expression.held import HeldCounts
from spared_benchmark.expression.normalisation import log_tpm, tpm_denominators
from spared_benchmark.study import Lattice, ProcessingSettings
from spared_benchmark.tissue.lattice import neighbour_table, offsets
from spared_benchmark.tissue.median import adaptive_median


@dataclass(frozen=True)
class SlideSpots:
    """Counts of the filtered genes in the spots that are left.

    Attributes:
        held: The counts ``(n_spots, n_filtered)``.
        lengths: Of the filtered genes, base pairs ``(n_filtered,)``.
        spots: ``array_row``, ``array_col``, ``library_size`` (counts) and ``tpm_denominator``
            (counts per base), both over the filtered genes; index barcodes.
        spatial: Spot centres, full-resolution pixels ``(n_spots, 2)``.
        fates: A row for every spot in tissue: ``barcode``, ``array_row``, ``array_col``, ``x``,
            ``y`` (pixels), ``total_counts`` (over the genes that every choosing slide has: what the
            limits are set on), ``library_size`` and ``fate``: ``kept``, ``low`` or ``high``
            (outside the limits) or ``empty`` (of filtered genes).
        source_digest: Of the files that the slide was read from, "" when unknown.
    """

    held: HeldCounts
    lengths: NDArray[np.float64]
    spots: pd.DataFrame
    spatial: NDArray[np.float64]
    fates: pd.DataFrame
    source_digest: str

    @classmethod
    def of(
        cls,
        adata: AnnData,
        tally: Tally,
        genes: FilteredGenes,
        limits: tuple[float, float],
    ) -> SlideSpots:
        """Restrict a slide; spots in which none of the genes was counted are dropped.

        Args:
            adata: See the schema ``slide``.
            tally: Which of its spots the quality limits keep, and by which totals.
            genes: The filtered genes; one that the slide lacks counts zero.
            limits: The quality limits on a spot's total, to say why a spot is dropped.
        """
        counts = counts_of(adata, genes.source)
        library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        rows = np.flatnonzero(tally.kept & (library > 0))
        counts = counts[rows]
        spots = pd.DataFrame(
            {
                "array_row": adata.obs["array_row"].to_numpy(np.int32)[rows],
                "array_col": adata.obs["array_col"].to_numpy(np.int32)[rows],
                "library_size": library[rows],
                "tpm_denominator": tpm_denominators(counts, genes.lengths),
            },
            index=adata.obs_names[rows],
        )
        spatial = np.asarray(adata.obsm["spatial"], dtype=np.float64)
        digest = str(adata.uns.get("slide", {}).get("source_digest", ""))
        fates = _fates(adata, spatial, tally, library, limits)
        held = HeldCounts.of(counts)
        return cls(held, genes.lengths, spots, spatial[rows], fates, digest)

    def dense_counts(self, genes: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the counts of some of the genes, float32 ``(n_spots, n_chosen)``."""
        return np.asarray(self.held.matrix()[:, genes].toarray(), dtype=np.float32)

    def log_tpm(self, genes: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return log2(TPM + 1) of some of the genes, float32 ``(n_spots, n_chosen)``."""
        denominators = self.spots["tpm_denominator"].to_numpy(np.float64)
        return log_tpm(self.held.matrix()[:, genes], self.lengths[genes], denominators)

    def windows(
        self, lattice: Lattice, settings: ProcessingSettings, hops: int | None = None
    ) -> list[NDArray[np.int32]]:
        """Return the neighbour tables of 1, 2, … hops, each ``(n_spots, k)``, −1 padded.

        Args:
            lattice: How the spots lie.
            settings: Which neighbours: those of the lattice or, for parity, the published ones.
            hops: How many tables; as many as the median filter takes when not given.
        """
        hops = hops or settings.median_hops
        if settings.published is not None:
            from spared_benchmark.published.graph import hop_tables, pixel_graph

            return hop_tables(pixel_graph(self.spatial, lattice, settings.published), hops)
        rows, cols = self.spots["array_row"].to_numpy(), self.spots["array_col"].to_numpy()
        widest = neighbour_table(rows, cols, np.zeros(rows.size, np.int32), lattice, hops)
        _, ring = offsets(lattice, hops)
        return [widest[:, ring <= hop] for hop in range(1, hops + 1)]


def median_completed(
    values: NDArray[np.float32], windows: Sequence[NDArray[np.int32]]
) -> NDArray[np.float32]:
    """Return one slide's ``values`` with zeros filled by the adaptive median.

    Args:
        values: log2(TPM + 1) ``(n_spots, n_genes)``.
        windows: From `SlideSpots.windows`.
    """
    return adaptive_median(values, values == 0, windows, np.zeros(len(values), np.int32))


def _fates(
    adata: AnnData,
    spatial: NDArray[np.float64],
    tally: Tally,
    library: NDArray[np.float64],
    limits: tuple[float, float],
) -> pd.DataFrame:
    kept, high = tally.kept, tally.spot_totals >= limits[1]
    fate = np.select([kept & (library > 0), kept, high], ["kept", "empty", "high"], "low")
    return pd.DataFrame(
        {
            "barcode": adata.obs_names.to_numpy(str).astype(object),
            "array_row": adata.obs["array_row"].to_numpy(np.int32),
            "array_col": adata.obs["array_col"].to_numpy(np.int32),
            "x": spatial[:, 0],
            "y": spatial[:, 1],
            "total_counts": tally.spot_totals,
            "library_size": np.where(fate == "kept", library, 0.0),
            "fate": fate.astype(object),
        }
    )
