"""Quality limits on raw counts: which spots and which genes a cohort keeps.

The order is the published library's: spots by total, genes by total, then genes by how widely they
are expressed. The library and the paper's text differ in that last rule; both are here. Named genes
stay beside those that the rule keeps, so that counts are still divided by the total of the widely
expressed genes; in parity with the library they take the rule's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.cohort_settings import FilterSettings
from spared_benchmark.errors import InputError


@dataclass(frozen=True)
class Tally:
    """What one slide contributes to the filter.

    Attributes:
        kept: Spots whose total lies between the limits ``(n_spots,)``.
        spot_totals: The totals that this was decided by ``(n_spots,)``.
        present: Spots with the gene, before the limits ``(n_genes,)``.
        expressed: Spots with the gene, among the kept ones ``(n_genes,)``.
        totals: Counts of the gene, among the kept ones ``(n_genes,)``.
    """

    kept: NDArray[np.bool_]
    spot_totals: NDArray[np.int64]
    present: NDArray[np.int64]
    expressed: NDArray[np.int64]
    totals: NDArray[np.int64]

    @property
    def spots(self) -> int:
        """Spots kept."""
        return int(self.kept.sum())


@dataclass(frozen=True)
class GeneFilter:
    """Which genes stay, why the others leave, and how widely all are expressed.

    Each gene is in exactly one of ``kept``, ``limits`` and ``narrow``.

    Attributes:
        kept: Genes that stay ``(n_genes,)``.
        limits: Genes that leave because their total is outside the limits ``(n_genes,)``.
        narrow: Genes that leave because they are not expressed widely enough or, in parity with
            the library, are not among the named ones ``(n_genes,)``.
        fraction_min: Smallest expressed fraction over the slides ``(n_genes,)``.
        fraction: Expressed fraction over all spots ``(n_genes,)``.
        total: Counts over all slides ``(n_genes,)``.
        named: The genes that alone may be chosen ``(n_genes,)``; None: all that stay may.
    """

    kept: NDArray[np.bool_]
    limits: NDArray[np.bool_]
    narrow: NDArray[np.bool_]
    fraction_min: NDArray[np.float64]
    fraction: NDArray[np.float64]
    total: NDArray[np.int64]
    named: NDArray[np.bool_] | None = None


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
        spot_totals=total.astype(np.int64),
        present=_spots_with(counts),
        expressed=_spots_with(stayed),
        totals=np.asarray(stayed.sum(axis=0), dtype=np.int64).ravel(),
    )


def filter_genes(
    tallies: Mapping[str, Tally],
    genes: NDArray[np.str_],
    settings: FilterSettings,
    named: NDArray[np.bool_] | None = None,
    *,
    published: bool = False,
) -> GeneFilter:
    """Choose the genes that are expressed widely enough.

    Of the genes whose total lies strictly between ``settings.gene_counts``

    * ``running_mean`` sorts by ``fraction_min``, from the highest (ties by name, so that the order
      is always the same), and keeps all up to the last position where the running mean of
      ``fraction`` is at least ``settings.mean_fraction``;
    * ``thresholds`` keeps those with ``fraction_min`` at least ``settings.slide_fraction`` and
      ``fraction`` at least ``settings.overall_fraction``.

    Named genes stay beside them, whatever their totals and fractions.

    Args:
        tallies: The slides that may choose, by name.
        genes: Names of the genes ``(n_genes,)``.
        settings: The limits.
        named: The genes that alone may be chosen ``(n_genes,)``.
        published: As the published library: ties of ``running_mean`` in its order, not by name;
            where genes are named, all others leave.

    Raises:
        InputError: When a slide keeps no spot, or no gene is expressed widely enough.
    """
    _refuse_empty(tallies, settings)
    fraction_min = np.min([one.expressed / one.spots for one in tallies.values()], axis=0)
    spots = sum(one.spots for one in tallies.values())
    fraction = np.sum([one.expressed for one in tallies.values()], axis=0) / spots
    total = np.sum([one.totals for one in tallies.values()], axis=0)
    if named is not None and published:
        kept, out = named, np.zeros(genes.size, dtype=bool)
    else:
        between = _within_limits(total, settings)
        if settings.rule == "running_mean":
            order = _published_order if published else _order_by_name
            wide = _running_mean(order(genes, between, fraction_min), between, fraction, settings)
        else:
            wide = _thresholds(between, fraction_min, fraction, settings)
        kept = between & wide if named is None else (between & wide) | named
        out = ~between & ~kept
    return GeneFilter(kept, out, ~kept & ~out, fraction_min, fraction, total, named)


def _refuse_empty(tallies: Mapping[str, Tally], settings: FilterSettings) -> None:
    for slide, one in tallies.items():
        if one.spots == 0:
            msg = (
                f"slide {slide}: none of its {one.kept.size} spots has a total strictly between "
                f"{settings.spot_counts[0]:g} and {settings.spot_counts[1]:g}; change "
                "filter.spot_counts of the cohort or leave the slide out"
            )
            raise InputError(msg)


def _within_limits(total: NDArray[np.int64], settings: FilterSettings) -> NDArray[np.bool_]:
    low, high = settings.gene_counts
    between = (total > low) & (total < high)
    if not between.any():
        msg = (
            f"no gene is left: none of {total.size} genes has a total strictly between {low:g} and "
            f"{high:g}; totals go from {total.min()} to {total.max()}; change filter.gene_counts "
            "of the cohort"
        )
        raise InputError(msg)
    return between


def _order_by_name(
    genes: NDArray[np.str_], between: NDArray[np.bool_], fraction_min: NDArray[np.float64]
) -> NDArray[np.intp]:
    candidates = np.flatnonzero(between)
    return candidates[np.lexsort((genes[candidates], -fraction_min[candidates]))]


def _published_order(
    _genes: NDArray[np.str_], between: NDArray[np.bool_], fraction_min: NDArray[np.float64]
) -> NDArray[np.intp]:
    from spared_benchmark.published.order import published_order

    candidates = np.flatnonzero(between)
    return candidates[published_order(fraction_min[candidates])]


def _running_mean(
    order: NDArray[np.intp],
    between: NDArray[np.bool_],
    fraction: NDArray[np.float64],
    settings: FilterSettings,
) -> NDArray[np.bool_]:
    running = np.cumsum(fraction[order]) / np.arange(1, order.size + 1)
    enough = np.flatnonzero(running >= settings.mean_fraction)
    if enough.size == 0:
        msg = (
            f"{_no_gene(between, settings)}, and the mean of their "
            f"expressed fractions is at most {running.max(initial=0):.3f} where at least "
            f"{settings.mean_fraction:g} is asked; lower filter.mean_fraction of the cohort"
        )
        raise InputError(msg)
    wide = np.zeros(between.size, dtype=bool)
    wide[order[: enough[-1] + 1]] = True
    return wide


def _thresholds(
    between: NDArray[np.bool_],
    fraction_min: NDArray[np.float64],
    fraction: NDArray[np.float64],
    settings: FilterSettings,
) -> NDArray[np.bool_]:
    everywhere = fraction_min >= settings.slide_fraction
    overall = fraction >= settings.overall_fraction
    wide = everywhere & overall
    if not (between & wide).any():
        msg = (
            f"{_no_gene(between, settings)}; of these, {int((between & everywhere).sum())} are "
            f"expressed in at least {settings.slide_fraction:g} of every slide's spots and "
            f"{int((between & overall).sum())} in at least {settings.overall_fraction:g} of all "
            "spots, none in both; lower filter.slide_fraction or filter.overall_fraction of the "
            "cohort"
        )
        raise InputError(msg)
    return wide


def _no_gene(between: NDArray[np.bool_], settings: FilterSettings) -> str:
    return (
        f"no gene is left: of {between.size} genes {int(between.sum())} have a total between "
        f"{settings.gene_counts[0]:g} and {settings.gene_counts[1]:g}"
    )


def _spots_with(counts: sparse.csr_matrix) -> NDArray[np.int64]:
    positive = counts.indices[counts.data > 0]
    return np.bincount(positive, minlength=counts.shape[1]).astype(np.int64)
