"""The genes of a cohort: those that every choosing slide has, and what the filter leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.errors import InputError
from spared_benchmark.expression.filter import GeneFilter, Tally, tally
from spared_benchmark.expression.gene_lengths import lengths_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CommonGenes:
    """Genes that every choosing slide has: names and symbols ``(n_genes,)``."""

    id: NDArray[np.str_]
    symbol: NDArray[np.str_]


@dataclass(frozen=True)
class FilteredGenes:
    """Genes that the filter keeps and that have a length.

    Attributes:
        id: Names ``(n_filtered,)``.
        symbol: Symbols ``(n_filtered,)``.
        lengths: Merged exon lengths, base pairs ``(n_filtered,)``.
        fraction_min: Smallest expressed fraction over the slides ``(n_filtered,)``.
        fraction: Expressed fraction over all spots ``(n_filtered,)``.
        missing: How many genes were lost for want of a length.
        ambiguous: How many of them because their symbol names several genes.
    """

    id: NDArray[np.str_]
    symbol: NDArray[np.str_]
    lengths: NDArray[np.float64]
    fraction_min: NDArray[np.float64]
    fraction: NDArray[np.float64]
    missing: int
    ambiguous: int

    def table(self, genes: NDArray[np.intp], moran: NDArray[np.float64]) -> pd.DataFrame:
        """Return what is known of some of the genes, one row each, index their names.

        Args:
            genes: Positions of the genes ``(n_chosen,)``.
            moran: Of all filtered genes ``(n_filtered,)``.
        """
        return pd.DataFrame(
            {
                "symbol": self.symbol[genes].astype(object),
                "moran": moran[genes],
                "fraction_min": self.fraction_min[genes],
                "fraction": self.fraction[genes],
                "gene_length": self.lengths[genes],
            },
            index=pd.Index(self.id[genes].astype(object)),
        )


def counts_of(adata: AnnData, genes: NDArray[np.str_] | pd.Index) -> sparse.csr_matrix:
    """Return a slide's counts of some genes ``(n_spots, n_genes)``, zero for those it lacks.

    Args:
        adata: See the schema ``slide``.
        genes: Their names ``(n_genes,)``.
    """
    place = adata.var_names.get_indexer(genes)
    held = np.flatnonzero(place >= 0)
    counts = sparse.csr_matrix(adata.X)[:, place[held]]
    shape = counts.shape[0], place.size
    return sparse.csr_matrix((counts.data, held[counts.indices], counts.indptr), shape=shape)


def count_slides(
    loaders: Mapping[str, Callable[[], AnnData]],
    choosers: Collection[str],
    limits: tuple[float, float],
) -> tuple[CommonGenes, dict[str, Tally]]:
    """Count every slide over the genes that all choosers have.

    Args:
        loaders: By slide, a function that loads it (schema ``slide``).
        choosers: The slides that may choose genes. Some tables have no column for a gene without
            a count, so the columns of the other slides choose nothing either: a gene that such a
            slide lacks counts zero there.
        limits: A spot is kept when its total lies strictly between the two.

    Raises:
        InputError: When the slides share no gene, or a slide names a gene twice.
    """
    symbols = pd.Series(dtype=str)
    counted: dict[str, tuple[int, Tally]] = {}
    for slide in sorted(loaders, key=lambda name: name not in choosers):
        adata = loaders[slide]()
        _refuse_doubles(adata, slide)
        if not counted:
            symbols = adata.var["symbol"]
        shared = symbols[symbols.index.isin(adata.var_names)]
        if shared.empty:
            named = ", ".join([*counted, slide])
            msg = f"the slides {named} share no gene; are they of one organism?"
            raise InputError(msg)
        if slide in choosers:
            symbols = shared
        # Only a slide whose genes turn out to be more than the common ones is counted again.
        counted[slide] = len(symbols), tally(counts_of(adata, symbols.index), limits)
    for slide, (size, _) in counted.items():
        if size != len(symbols):
            counts = counts_of(loaders[slide](), symbols.index)
            counted[slide] = len(symbols), tally(counts, limits)
    genes = CommonGenes(np.asarray(symbols.index, np.str_), np.asarray(symbols, np.str_))
    return genes, {slide: counted[slide][1] for slide in loaders}


def _refuse_doubles(adata: AnnData, slide: str) -> None:
    if not adata.var_names.is_unique:
        twice = adata.var_names[adata.var_names.duplicated()][0]
        msg = f"slide {slide}: the gene {twice!r} comes more than once; names must be unique"
        raise InputError(msg)


def with_length(genes: CommonGenes, kept: GeneFilter, gene_lengths: pd.DataFrame) -> FilteredGenes:
    """Return the genes that the filter keeps and that have a length; log the ones that have none.

    Args:
        genes: Genes of the cohort.
        kept: Which of them the filter keeps.
        gene_lengths: Columns ``gene_id``, ``symbol``, ``length``.

    Raises:
        InputError: When none has a length.
    """
    place = np.flatnonzero(kept.kept)
    found = lengths_of(genes.id[place].tolist(), genes.symbol[place].tolist(), gene_lengths)
    if found.missing:
        logger.warning(
            "%d of %d filtered genes have no length and are left out (%d of them because their "
            "symbol names several genes): %s%s",
            len(found.missing),
            place.size,
            len(found.ambiguous),
            ", ".join(found.missing[:5]),
            ", …" if len(found.missing) > 5 else "",
        )
    known = np.isfinite(found.values)
    if not known.any():
        msg = (
            f"none of {place.size} filtered genes has a length (first: {found.missing[0]!r}); is "
            "the table of gene lengths that of the cohort's organism?"
        )
        raise InputError(msg)
    place = place[known]
    return FilteredGenes(
        id=genes.id[place],
        symbol=genes.symbol[place],
        lengths=found.values[known],
        fraction_min=kept.fraction_min[place],
        fraction=kept.fraction[place],
        missing=len(found.missing),
        ambiguous=len(found.ambiguous),
    )
