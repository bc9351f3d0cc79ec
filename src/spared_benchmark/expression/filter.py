"""Quality limits on raw counts: which spots and which genes a cohort keeps.

Follows the order of the published library: spots by total, genes by total, then genes from the
most to the least widely expressed while the mean of their expressed fractions stays high enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.errors import InputError
from spared_benchmark.study import FilterSettings


@dataclass(frozen=True)
class Tally:
    """What one slide contributes to the filter.

    Attributes:
        kept: Spots whose total lies between the limits ``(n_spots,)``.
        present: Spots with the gene, before the limits ``(n_genes,)``.
        expressed: Spots with the gene, among the kept ones ``(n_genes,)``.
        totals: Counts of the gene, among the kept ones ``(n_genes,)``.
    """

    kept: NDArray[np.bool_]
    present: NDArray[np.int64]
    expressed: NDArray[np.int64]
    totals: NDArray[np.int64]

    @property
    def spots(self) -> int:
        """Spots kept."""
        return int(self.kept.sum())


@dataclass(frozen=True)
class GeneFilter:
    """Which genes stay, and how widely they are expressed.

    Attributes:
        kept: Genes that stay ``(n_genes,)``.
        fraction_min: Smallest expressed fraction over the slides ``(n_genes,)``.
        fraction: Expressed fraction over all spots ``(n_genes,)``.
    """

    kept: NDArray[np.bool_]
    fraction_min: NDArray[np.float64]
    fraction: NDArray[np.float64]


def tally(counts: sparse.csr_matrix, limits: tuple[float, float]) -> Tally:
    """Count one slide's spots and genes.

    Args:
        counts: Raw counts ``(n_spots, n_genes)``.
        limits: A spot is kept when its total lies strictly between the two.
    """
    total = np.asarray(counts.sum(axis=1)).ravel()
    kept = (total > limits[0]) & (total < limits[1])
    stayed = counts[kept]
    return Tally(
        kept=kept,
        present=_spots_with(counts),
        expressed=_spots_with(stayed),
        totals=np.asarray(stayed.sum(axis=0), dtype=np.int64).ravel(),
    )


def filter_genes(
    tallies: Mapping[str, Tally], genes: NDArray[np.str_], settings: FilterSettings
) -> GeneFilter:
    """Choose the genes that are expressed widely enough.

    Genes whose total lies strictly between the limits are sorted by ``fraction_min``, from the
    highest (ties by name, so that the order is always the same); all up to the last position
    where the running mean of ``fraction`` is at least ``settings.mean_fraction`` are kept.

    Args:
        tallies: The slides that may choose, by name.
        genes: Names of the genes ``(n_genes,)``.
        settings: The limits.

    Raises:
        InputError: When a slide keeps no spot, or no gene is expressed widely enough.
    """
    for slide, one in tallies.items():
        if one.spots == 0:
            msg = (
                f"slide {slide}: none of its {one.kept.size} spots has a total strictly between "
                f"{settings.spot_counts[0]:g} and {settings.spot_counts[1]:g}; change "
                "filter.spot_counts of the cohort or leave the slide out"
            )
            raise InputError(msg)
    fraction_min = np.min([one.expressed / one.spots for one in tallies.values()], axis=0)
    spots = sum(one.spots for one in tallies.values())
    fraction = np.sum([one.expressed for one in tallies.values()], axis=0) / spots
    totals = np.sum([one.totals for one in tallies.values()], axis=0)
    between = (totals > settings.gene_counts[0]) & (totals < settings.gene_counts[1])
    candidates = np.flatnonzero(between)
    order = candidates[np.lexsort((genes[candidates], -fraction_min[candidates]))]
    running = np.cumsum(fraction[order]) / np.arange(1, order.size + 1)
    enough = np.flatnonzero(running >= settings.mean_fraction)
    if enough.size == 0:
        msg = (
            f"no gene is left: of {genes.size} genes {order.size} have a total between "
            f"{settings.gene_counts[0]:g} and {settings.gene_counts[1]:g}, and the mean of their "
            f"expressed fractions is at most {running.max(initial=0):.3f} where at least "
            f"{settings.mean_fraction:g} is asked; lower filter.mean_fraction of the cohort"
        )
        raise InputError(msg)
    kept = np.zeros(genes.size, dtype=bool)
    kept[order[: enough[-1] + 1]] = True
    return GeneFilter(kept, fraction_min, fraction)


def _spots_with(counts: sparse.csr_matrix) -> NDArray[np.int64]:
    positive = counts.indices[counts.data > 0]
    return np.bincount(positive, minlength=counts.shape[1]).astype(np.int64)
